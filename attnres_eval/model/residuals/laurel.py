"""Learned augmented residual layers."""

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.stream import Stream
from attnres_eval.shape import ModelShape
from attnres_eval.variants.laurel import LAuReLOptions


class LAuReL(Stream):
    """h_{l+1} = a_l f_l(h_l) + b_l (h_l + A_l B_l h_l) (arXiv:2411.07501).

    `down` is B, (L, D, R), and `up` is A, (L, R, D), with rank R; `weights` is (L, 2) and bounded
    to (a, b). A form has only what it needs.
    """

    def __init__(self, shape: ModelShape, options: LAuReLOptions) -> None:
        super().__init__(shape, options)
        self.bounding = options.bounding
        self.weighted, self.low_rank = "rw" in options.form, "lr" in options.form
        if self.weighted:
            self.weights = nn.Parameter(torch.empty(shape.n_sublayers, 2))
        if self.low_rank:
            self.down = nn.Parameter(torch.empty(shape.n_sublayers, shape.d_model, options.rank))
            self.up = nn.Parameter(torch.empty(shape.n_sublayers, options.rank, shape.d_model))

    def initialise(self, seed: int) -> None:
        """PreNorm: A is zero and a = b = 1. B is column orthogonal."""
        if self.weighted:
            nn.init.zeros_(self.weights)
        if self.low_rank:
            _, width, rank = self.down.shape
            columns = torch.arange(width)[:, None] % rank == torch.arange(rank)
            self.down.copy_((columns / (rank * width) ** 0.5).expand_as(self.down))
            nn.init.zeros_(self.up)

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        kept = state
        if self.low_rank:
            down, up = self.down[sublayer].to(state.dtype), self.up[sublayer].to(state.dtype)
            kept = state + (state @ down) @ up
        if not self.weighted:
            return kept + output_BTD
        weights = self.weights[sublayer].float()
        bounded = weights.softmax(0) if self.bounding == "softmax" else weights.sigmoid()
        a, b = 2 * bounded
        return (a * output_BTD.float() + b * kept.float()).to(state.dtype)
