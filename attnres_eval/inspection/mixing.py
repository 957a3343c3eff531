"""The depth-mixing matrix: how much of each source is in what each sublayer reads.

With mixing weights and norms held fixed, what a reader gets is linear in the sources: the sum
over i of J v_i, J depending on reader, source and token. M[i, l] = (J v_i . v_i) / |v_i|^2,
averaged over tokens, is the weight of source i at reader l. It is the weight itself wherever a
residual multiplies sources by numbers, as in the maps of arXiv:2603.15031, figure 8, and it is
defined for every other residual too, through gates, streams and norms.

J v_i comes from forward-mode differentiation through the residual's verbs alone: v_i carries
itself as its tangent, and later outputs are constants, so that only direct paths count.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from attnres_eval.inspection.probe import Read, Trace
from attnres_eval.model.kernels.switch import kernels
from attnres_eval.model.residuals.base import QKV, Residual


@contextlib.contextmanager
def frozen(residual: Residual) -> Iterator[None]:
    """Holds what multiplies the sources fixed while it lasts."""
    before = residual.frozen
    residual.frozen = True
    try:
        yield
    finally:
        residual.frozen = before


@torch.no_grad()
def contributions(residual: Residual, trace: Trace) -> Iterator[list[Read | None]]:
    """Yields for each source in turn its J v_i at the readers from i on.

    Sources count from 0, the embedding; readers from 0, the first sublayer, to L, the output
    aggregation, so that source i reaches no reader before i. J v_i is (B, T, D), one of them each
    where queries, keys and values are read apart, and None where the source does not reach.
    """
    state: Any = None
    for source, values_BTD in enumerate(trace.sources_BTD):
        # Neither of the two contexts may stay open while the caller goes on.
        with frozen(residual), kernels(False), forward_ad.dual_level():
            dual_BTD = forward_ad.make_dual(values_BTD, values_BTD)
            found = _follow(residual, trace, _put(residual, state, source, dual_BTD), source)
        yield found
        # Plain torch here too: the histories inside and outside have to be of one kind.
        with kernels(False):
            state = _put(residual, state, source, values_BTD)
            if source < residual.shape.n_sublayers:
                state, _ = _take(residual, trace, state, source)


def _follow(residual: Residual, trace: Trace, state: Any, source: int) -> list[Read | None]:
    """The tangents of all that is read after a source; later outputs are constants."""
    tangents = []
    for sublayer in range(source, residual.shape.n_sublayers):
        state, read = _take(residual, trace, state, sublayer)
        tangents.append(_tangent(read))
        state = residual.write(state, sublayer, trace.sources_BTD[sublayer + 1])
    return [*tangents, _tangent(residual.finish(state))]


def _put(residual: Residual, state: Any, source: int, values_BTD: Tensor) -> Any:
    """The history with one more source, the embedding first."""
    return residual.write(state, source - 1, values_BTD) if source else residual.start(values_BTD)


def _take(residual: Residual, trace: Trace, state: Any, sublayer: int) -> tuple[Any, Read]:
    """What a sublayer reads; the residual sees the queries, keys and values that it had."""
    state, read = residual.read(state, sublayer)
    if sublayer % 2 == 0:
        state, *_ = residual.attend(state, sublayer // 2, *trace.projected[sublayer // 2])
    return state, read


def _tangent(read: Read) -> Read | None:
    if isinstance(read, QKV):
        parts = [forward_ad.unpack_dual(part).tangent for part in read]
        if all(part is None for part in parts):
            return None
        return QKV(
            *(
                torch.zeros_like(part) if tangent is None else tangent
                for part, tangent in zip(read, parts, strict=True)
            )
        )
    return forward_ad.unpack_dual(read).tangent


class MixingMean:
    """The depth-mixing matrix, averaged over all tokens that were added.

    Where queries, keys and values are read apart, a reader's weight is the mean of the three. A
    token at which a source is exactly zero has no weight for it and does not count.

    Args:
        n_sublayers: L.
    """

    def __init__(self, n_sublayers: int) -> None:
        self.sums = torch.zeros(n_sublayers + 1, n_sublayers + 1, dtype=torch.float64)
        self.counts = torch.zeros(n_sublayers + 1, dtype=torch.float64)

    def add(self, residual: Residual, trace: Trace) -> None:
        """Adds the tokens of one forward pass."""
        for source, found in enumerate(contributions(residual, trace)):
            values_BTD = trace.sources_BTD[source].double()
            squares_BT = values_BTD.square().sum(-1)
            there_BT = squares_BT > 0
            self.counts[source] += there_BT.sum().item()
            for reader, reading in enumerate(found, source):
                if reading is None:
                    continue
                parts = reading if isinstance(reading, QKV) else (reading,)
                for part_BTD in parts:
                    along_BT = (part_BTD.double() * values_BTD).sum(-1)
                    weights = along_BT[there_BT] / squares_BT[there_BT]
                    self.sums[source, reader] += weights.sum().item() / len(parts)

    def matrix(self) -> list[list[float | None]]:
        """M, (L + 1, L + 1): a row a source, a column a reader."""
        return [
            [value / count if count else None for value in row]
            for row, count in zip(self.sums.tolist(), self.counts.tolist(), strict=True)
        ]
