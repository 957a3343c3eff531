"""What the variants with several streams share: their state, and how it is read and written."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attnres_eval.model.kernels import streams as fused
from attnres_eval.model.kernels.streams import FusedReading, Gate
from attnres_eval.model.residuals.base import NORM_EPSILON, Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options


def full_precision(x: Tensor) -> torch.autocast:
    """A context in which products keep fp32, which autocast would take from them."""
    return torch.autocast(x.device.type, enabled=False)


def combine(weights_KN: Tensor, streams_BTND: Tensor) -> Tensor:
    """K combinations of N streams, summed in fp32, in the streams' dtype: (B, T, K, D).

    The weights are fp32, the same for all tokens or (B, T, K, N).
    """
    with full_precision(streams_BTND):
        combined = torch.einsum("...kn,...nd->...kd", weights_KN, streams_BTND.float())
    return combined.to(streams_BTND.dtype)


def normed_projection(x: Tensor, weight_OI: Tensor, centred: bool = False) -> Tensor:
    """RMSNorm(x) W^T, or LayerNorm(x) W^T where centred, in fp32: (..., I) to (..., O).

    Dividing after the product (arXiv:2512.24880 section 4.3) spares a normalised copy of all
    streams.
    """
    with full_precision(x):
        x, weight_OI = x.float(), weight_OI.float()
        product = F.linear(x, weight_OI)
        variance = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1]
        if centred:
            mean = x.mean(-1, keepdim=True)
            product = product - mean * weight_OI.sum(-1)
            variance = variance - mean.square()
        return product * (variance + NORM_EPSILON).rsqrt()


class Weights(NamedTuple):
    """What one sublayer does with N streams, fp32, the same for all tokens or (B, T, ...)."""

    read_RN: Tensor
    """R combinations of the streams, which lie side by side in what the sublayer reads."""
    mixing_NN: Tensor
    """Row i makes the new stream i out of the old ones."""
    write_N: Tensor
    """How much of the sublayer's output each stream gets."""


class Reading(NamedTuple):
    """The streams between a sublayer's reading and its writing."""

    mixed_BTND: Tensor
    """The streams after mixing, without the output."""
    write_N: Tensor


class Streams(Residual):
    """N streams H, each the embedding at first; the output is their sum.

    u = read H;  H' = mixing H + write f(u). The state is H, (B, T, N, D), and a `Reading` between
    `read` and `write`, since reading and mixing are one product; or a `FusedReading`, where the
    compiled kernels have read.
    """

    reads = 1
    """R, of `Weights`."""

    def __init__(self, shape: ModelShape, options: Options, streams: int) -> None:
        super().__init__(shape, options)
        self.streams = streams

    def weights(self, streams_BTND: Tensor, sublayer: int) -> Weights:
        """The sublayer's weights, given the streams."""
        raise TypeError(f"{type(self).__name__} must define weights")

    def gate(self, sublayer: int) -> Gate | None:
        """How the kernels make the same weights; None where they do not know how.

        A subclass that changes `weights` changes this too.
        """
        return None

    def start(self, embedding_BTD: Tensor) -> Tensor:
        return embedding_BTD.unsqueeze(-2).expand(-1, -1, self.streams, -1)

    def read(self, state: Tensor, sublayer: int) -> tuple[Reading | FusedReading, Tensor]:
        if not self.frozen and fused.takes(state) and (gate := self.gate(sublayer)) is not None:
            reading = fused.read(state, gate, self.reads)
            if reading is not None:
                return reading
        read_RN, mixing_NN, write_N = map(self.coefficient, self.weights(state, sublayer))
        combined = combine(torch.cat([read_RN, mixing_NN], dim=-2), state)
        u, mixed_BTND = combined.split([read_RN.shape[-2], self.streams], dim=-2)
        return Reading(mixed_BTND, write_N), u.flatten(-2)

    def write(self, state: Reading | FusedReading, sublayer: int, output_BTD: Tensor) -> Tensor:
        if isinstance(state, FusedReading):
            written = fused.write(state, output_BTD)
            if written is not None:
                return written
            mixing_BTNN, write_BTN = state.weights_BTKN[..., self.reads :, :].split(
                [self.streams, 1], dim=-2
            )
            state = Reading(combine(mixing_BTNN, state.streams_BTND), write_BTN.squeeze(-2))
        mixed_BTND, write_N = state
        output = output_BTD.unflatten(-1, (-1, mixed_BTND.shape[-1]))
        return torch.addcmul(mixed_BTND, write_N.unsqueeze(-1), output).to(mixed_BTND.dtype)

    def finish(self, state: Tensor) -> Tensor:
        return state.sum(-2)

    def without_effect_on_reads(self) -> Iterable[int]:
        """Sublayers that read a multiple of one vector whatever the read weights."""
        return range(self.shape.n_sublayers) if self.streams == 1 else [0]


def rows(names: Iterable[str], sublayers: Iterable[int], reason: str) -> dict[str, str]:
    """Entries of `gradient_free` for some sublayers of some parameters."""
    sublayers = list(sublayers)
    return {f"{name}[{index}]": reason for name in names for index in sublayers}


SCALE_IS_NORMED_AWAY = "all streams are alike, and the sublayer's norm removes the factor"
MIXING_OF_EQUALS = "a matrix whose rows sum to one leaves streams that are alike as they are"
MIXING_BEFORE_SUM = "a matrix whose columns sum to one leaves the sum of the streams as it is"
