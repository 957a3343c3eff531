"""Highway (arXiv:1505.00387): a gate between the stream and the sublayer's output."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.residuals.stream import Stream
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.highway import HighwayOptions


class Highway(Stream):
    """h[l+1] = (1 - g) h[l] + g f_l(h[l]), g = sigmoid(W_l N0(h[l]) + b_l).

    W_l is (D, D) and the gate (B, T, D), or (1, D) and (B, T, 1) where the gate is a scalar.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, HighwayOptions)
        super().__init__(shape, options)
        self.starting_bias = options.bias
        width = options.gate_width(shape.d_model)
        self.weight = nn.Parameter(torch.empty(shape.n_sublayers, width, shape.d_model))
        self.bias = nn.Parameter(torch.empty(shape.n_sublayers, width))

    def initialise(self, seed: int) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, self.starting_bias)

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        # The product runs in the model's precision, as the body's do; gate and mix in fp32.
        logits = F.linear(self.normalise(state), self.weight[sublayer]).float()
        gate = self.coefficient(torch.sigmoid(logits + self.bias[sublayer].float()))
        return ((1 - gate) * state.float() + gate * output_BTD.float()).to(state.dtype)
