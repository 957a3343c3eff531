"""The first layer's values in every later layer."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants.value_residual import ValueResidualOptions

START = 0.5


class ValueState(NamedTuple):
    """History of the value residual."""

    stream_BTD: Tensor
    first_BGTK: Tensor | None
    """The first layer's values; None before it has any."""


class ValueResidual(Residual):
    """V_l' = a V_0 + b V_l in the layers l > 0 of a PreNorm decoder (arXiv:2410.17897).

    Row l - 1 of `weights` is (a, b) of layer l.
    """

    def __init__(self, shape: ModelShape, options: ValueResidualOptions) -> None:
        super().__init__(shape, options)
        self.learned = options.weights == "learned"
        if self.learned:
            self.weights = nn.Parameter(torch.empty(shape.n_layers - 1, 2))

    def initialise(self, seed: int) -> None:
        """Half and half."""
        if self.learned:
            nn.init.constant_(self.weights, START)

    def start(self, embedding_BTD: Tensor) -> ValueState:
        return ValueState(embedding_BTD, None)

    def read(self, state: ValueState, sublayer: int) -> tuple[ValueState, Tensor]:
        return state, state.stream_BTD

    def attend(
        self, state: ValueState, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[ValueState, Tensor, Tensor, Tensor]:
        if state.first_BGTK is None:
            return state._replace(first_BGTK=v_BGTK), q_BHTK, k_BGTK, v_BGTK
        first, own = self.weights[layer - 1].float() if self.learned else (START, START)
        mixed_BGTK = first * state.first_BGTK.float() + own * v_BGTK.float()
        return state, q_BHTK, k_BGTK, mixed_BGTK.to(v_BGTK.dtype)

    def write(self, state: ValueState, sublayer: int, output_BTD: Tensor) -> ValueState:
        return state._replace(stream_BTD=state.stream_BTD + output_BTD)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> ValueState:
        return ValueState(*tensors)

    def finish(self, state: ValueState) -> Tensor:
        return state.stream_BTD
