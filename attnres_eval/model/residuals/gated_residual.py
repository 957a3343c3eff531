"""The Gated Residual: streams read through element-wise gates, written through scalars."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.draw import normal
from attnres_eval.model.kernels import gated as fused
from attnres_eval.model.kernels.gated import GatedMean
from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.gated_residual import GatedResidualOptions

PROJECTION_STD = 0.02


class GatedReading(NamedTuple):
    """The streams between a sublayer's reading and its writing."""

    streams_BTND: Tensor
    write_BTN: Tensor
    """How much of the sublayer's output each stream gets, fp32."""


class GatedResidual(Residual):
    """u = mean_i G_i * Rn_i;  R_i' = R_i + s_i f(u), with Rn = RMSNorm(R) * (1 + w).

    G = sigmoid(W_u SiLU(W_d vec(Rn) / n)), s = 2 sigmoid(W_w vec(Rn) / n). Source: transformers'
    qwen4_exp. The state is R, (B, T, N, D), and a `GatedReading` between `read` and `write`. The
    reads replace all norms of the decoder's own, the last one (row L) the final norm.
    """

    sublayer_norms = False
    final_norm = False

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, GatedResidualOptions)
        super().__init__(shape, options)
        self.streams, rank = options.streams, options.bottleneck(shape)
        reads, width = shape.n_sublayers + 1, self.streams * shape.d_model
        self.norm = nn.Parameter(torch.empty(reads, self.streams, shape.d_model))
        self.down = nn.Parameter(torch.empty(reads, rank, width))
        self.up = nn.Parameter(torch.empty(reads, width, rank))
        self.write_weight = nn.Parameter(torch.empty(shape.n_sublayers, self.streams, width))

    def initialise(self, seed: int) -> None:
        """Gains of one, random projections."""
        nn.init.zeros_(self.norm)
        for name in ("down", "up", "write_weight"):
            normal(getattr(self, name), PROJECTION_STD, seed, f"residual.{name}")

    def start(self, embedding_BTD: Tensor) -> Tensor:
        return embedding_BTD.unsqueeze(-2).expand(-1, -1, self.streams, -1)

    def read(self, state: Tensor, sublayer: int) -> tuple[GatedReading, Tensor]:
        mean = self._fused(state, sublayer, self.write_weight[sublayer])
        if mean is not None and mean.write_BTN is not None:
            return GatedReading(mean.streams_BTND, mean.write_BTN), mean.read_BTD
        normed_BTND, u = self._gated_mean(state, sublayer)
        logits_BTN = F.linear(normed_BTND.flatten(-2), self.write_weight[sublayer])
        write_BTN = 2 * (logits_BTN.float() / self.streams).sigmoid()
        return GatedReading(state, self.coefficient(write_BTN)), u

    def write(self, state: GatedReading, sublayer: int, output_BTD: Tensor) -> Tensor:
        streams_BTND, write_BTN = state
        if not self.frozen and (sum_BTND := fused.add(*state, output_BTD)) is not None:
            return sum_BTND
        written = torch.addcmul(streams_BTND, write_BTN.unsqueeze(-1), output_BTD.unsqueeze(-2))
        return written.to(streams_BTND.dtype)

    def finish(self, state: Tensor) -> Tensor:
        mean = self._fused(state, self.shape.n_sublayers)
        if mean is not None:
            return mean.read_BTD
        return self._gated_mean(state, self.shape.n_sublayers)[1]

    def _fused(self, streams_BTND: Tensor, reader: int, *write: Tensor) -> GatedMean | None:
        """The reading by the kernels, with write weights where given; None where not by them."""
        if self.frozen or not fused.takes(streams_BTND):
            return None
        gain_ND, weights = 1 + self.norm[reader], (self.down[reader], *write)
        return fused.gated_mean(streams_BTND, gain_ND, torch.cat(weights), self.up[reader])

    def _gated_mean(self, streams_BTND: Tensor, reader: int) -> tuple[Tensor, Tensor]:
        """Normalised streams Rn (B, T, N, D), and the mean of them under their gates (B, T, D)."""
        gain_ND = (1 + self.norm[reader]).to(streams_BTND.dtype)
        normed_BTND = self.normalise(streams_BTND) * gain_ND
        hidden = F.silu(F.linear(normed_BTND.flatten(-2), self.down[reader]) / self.streams)
        gates_BTND = F.linear(hidden, self.up[reader]).float().sigmoid().view(normed_BTND.shape)
        mean_BTD = (self.coefficient(gates_BTND) * normed_BTND).mean(-2)
        return normed_BTND, mean_BTD.to(streams_BTND.dtype)
