"""Sources of dense connections, and their sums under given weights."""

from collections.abc import Sequence

from torch import Tensor

from attnres_eval.model.kernels import dense as fused
from attnres_eval.model.kernels.dense import DenseSource
from attnres_eval.model.residuals.depth import weighted_sum

Source = Tensor | DenseSource
"""A state (B, T, D), by itself or as the compiled kernels have it."""


def source(values_BTD: Tensor, frozen: bool) -> Source:
    """A source of later sums, of the kernels unless the residual's coefficients are frozen."""
    made = None if frozen else fused.source(values_BTD)
    return values_BTD if made is None else made


def values_of(source: Source) -> Tensor:
    """The state itself."""
    return source.values_BTD if isinstance(source, DenseSource) else source


def weighted_sums(weights: Tensor, sources: Sequence[Source]) -> list[Tensor]:
    """Sums over sources of weight times state, in fp32: C of (B, T, D), one a way.

    Args:
        weights: fp32, (B, T, C, S), or (C, S) where they are the same for all tokens.
        sources: S of them.
    """
    fused_sources = [one for one in sources if isinstance(one, DenseSource)]
    if len(fused_sources) == len(sources):
        return list(fused.weighted_sums(weights, fused_sources))
    weights_CSBT = weights.permute(2, 3, 0, 1) if weights.dim() == 4 else weights[..., None, None]
    values = [values_of(one) for one in sources]
    return [weighted_sum(weights_SBT, values) for weights_SBT in weights_CSBT]
