"""Multiway dynamic dense connections."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.draw import normal
from attnres_eval.model.kernels import ops
from attnres_eval.model.residuals.base import NORM_EPSILON, QKV, Residual
from attnres_eval.model.residuals.dense import Source, source, values_of, weighted_sums
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.muddformer import aggregations


class MUDDState(NamedTuple):
    """History of MUDDFormer."""

    stream_BTD: Tensor
    """What the running block adds to."""
    inputs: QKV | None
    """What the running block's attention reads; None where that is the stream."""
    sources: tuple[Source, ...]
    """The embedding and the states of all finished blocks."""


class MUDDFormer(Residual):
    """s_c = sum_j dw_cj x_j, dw = W2 GELU(W1 N0(x_i)) + a (arXiv:2502.12170).

    One aggregation follows each block, with C ways over S sources: `up` is W1, (K, D), `down` is
    W2, (C S, K), and `prior` is a, (C, S). Ways are q, k, v and the residual stream, only the
    last of them after the last block.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__(shape, options)
        sizes = aggregations(shape.n_layers)
        self.up = nn.ParameterList(torch.empty(size.hidden, shape.d_model) for size in sizes)
        self.down = nn.ParameterList(
            torch.empty(size.ways * size.sources, size.hidden) for size in sizes
        )
        self.prior = nn.ParameterList(torch.empty(size.ways, size.sources) for size in sizes)

    def initialise(self, seed: int) -> None:
        """Every way starts as the latest source: PreNorm."""
        for index, up in enumerate(self.up):
            normal(up, self.shape.d_model**-0.5, seed, f"residual.up.{index}")
        for down in self.down:
            nn.init.zeros_(down)
        for prior in self.prior:
            nn.init.zeros_(prior)
            nn.init.ones_(prior[:, -1])

    def separate_inputs(self, layer: int) -> bool:
        return layer > 0

    def start(self, embedding_BTD: Tensor) -> MUDDState:
        latest = source(embedding_BTD, self.frozen)
        return MUDDState(values_of(latest), None, (latest,))

    def read(self, state: MUDDState, sublayer: int) -> tuple[MUDDState, Tensor | QKV]:
        if sublayer % 2 == 0 and state.inputs is not None:
            return state, state.inputs
        return state, state.stream_BTD

    def write(self, state: MUDDState, sublayer: int, output_BTD: Tensor) -> MUDDState:
        stream_BTD = state.stream_BTD + output_BTD
        if sublayer % 2 == 0:
            return MUDDState(stream_BTD, None, state.sources)
        sources = (*state.sources, source(stream_BTD, self.frozen))
        *inputs, stream_BTD = self.aggregate(sources)
        return MUDDState(stream_BTD, QKV(*inputs) if inputs else None, sources)

    def aggregate(self, sources: tuple[Source, ...]) -> list[Tensor]:
        """The ways' sums over all sources so far, each (B, T, D)."""
        index = len(sources) - 2
        latest_BTD = values_of(sources[-1]).float()
        up_KD, down_OK = self.up[index].float(), self.down[index].float()
        hidden_BTK = ops.linear(latest_BTD, latest_BTD.new_ones(latest_BTD.shape[-1]), up_KD)
        if hidden_BTK is None:
            normed_BTD = F.rms_norm(latest_BTD, latest_BTD.shape[-1:], eps=NORM_EPSILON)
            hidden_BTK = F.linear(normed_BTD, up_KD)
        hidden_BTK = F.gelu(hidden_BTK)
        dynamic = ops.linear(hidden_BTK, None, down_OK)
        dynamic = (F.linear(hidden_BTK, down_OK) if dynamic is None else dynamic).float()
        prior_CS = self.prior[index].float()
        weights_BTCS = self.coefficient(dynamic.unflatten(-1, prior_CS.shape) + prior_CS)
        return weighted_sums(weights_BTCS, sources)

    def pack(self, state: MUDDState) -> tuple[Tensor, ...]:
        assert state.inputs is not None, "there is another layer"
        return state.stream_BTD, *state.inputs, *map(values_of, state.sources)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> MUDDState:
        stream_BTD, q, k, v, *states = tensors
        sources = tuple(source(one, self.frozen) for one in states)
        return MUDDState(stream_BTD, QKV(q, k, v), sources)

    def finish(self, state: MUDDState) -> Tensor:
        return state.stream_BTD
