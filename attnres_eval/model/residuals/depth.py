"""Attention over depth: how a reader weighs its sources, with the options of AttnRes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.kernels import depth as fused
from attnres_eval.model.kernels.decode import DecodePlan
from attnres_eval.model.kernels.depth import FusedSource, Queries
from attnres_eval.model.residuals import flash
from attnres_eval.model.residuals.base import NORM_EPSILON, Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.attnres import AttnResOptions


class Source(NamedTuple):
    """A source as its readers see it; H groups of channels have scores of their own.

    What does not depend on the reader is computed once, where the source is written: its RMS, and
    in one product its scores by learned queries for all readers still to come.
    """

    values_BTD: Tensor
    inverse_rms_BT1: Tensor | None
    first_reader: int
    """The reader that the first of the scores is for."""
    scores_BTH: tuple[Tensor, ...]
    """Logits w_r . RMSNorm_r(v), fp32, one a reader; empty without queries or by `flash`."""

    def score(self, reader: int) -> Tensor:
        """The logits of this source for one reader, (B, T, H)."""
        return self.scores_BTH[reader - self.first_reader]


Sources = tuple[Source | FusedSource, ...]
"""Sources of one forward pass: all of plain torch, or all of the compiled kernels."""


def plain(sources: Sources) -> tuple[Source, ...]:
    """The sources of a pass in plain torch. Raises TypeError where the kernels have them."""
    kept = tuple(source for source in sources if isinstance(source, Source))
    if len(kept) < len(sources):
        raise TypeError("sources of the kernels and of plain torch in one mix")
    return kept


def weighted_sum(weights_SBT: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum over sources of weight times raw values, in fp32, (B, T, D).

    Args:
        weights_SBT: a weight for each source and token, or what broadcasts to it.
        values: S sources, each (B, T, D).
    """
    weights = weights_SBT.unsqueeze(-1).unbind()
    mixed_BTD = weights[0] * values[0]
    for weight_BT1, values_BTD in zip(weights[1:], values[1:], strict=True):
        mixed_BTD = torch.addcmul(mixed_BTD, weight_BT1, values_BTD.float())
    return mixed_BTD.to(values[0].dtype)


class DepthAttention(Residual):
    """Mixes sources by weights of each reader's own (arXiv:2603.15031 section 3.1).

    Readers are the sublayers and, last, the aggregation before the final norm. The first have a
    single source, which they take as it is; parameters belong to the readers after those, in
    their order. A score is logit_scale * w . (gain * v / rms(v)); softmax over sources makes
    weights of scores, and the options change each of these steps.
    """

    query: Tensor | None
    """(R, D): a learned query for each reader."""
    projection: Tensor | None
    """(R, D, D): makes a reader's query of its latest source."""
    gain: Tensor | None
    """(R, D): of each reader's key norm."""
    static: Tensor | None
    """One number for each pair of reader and source, reader after reader."""

    def __init__(
        self,
        shape: ModelShape,
        options: Options,
        counts: Sequence[int],
        mixing: AttnResOptions,
    ) -> None:
        """Args: the decoder, all options, the number of sources of each reader, how to mix."""
        super().__init__(shape, options)
        self.mixing = mixing
        self.counts = [count for count in counts if count > 1]
        self.first_mixing = len(counts) - len(self.counts)
        self.published = (
            mixing.mixing == "softmax" and mixing.query == "learned" and mixing.heads == 1
        )
        """Whether it mixes as the paper's main form does, which is what compiled code knows."""
        self.fusible = self.published
        """Whether the compiled kernels compute it, source by source."""
        self.flashable = False
        """Whether the package flash-attn-res does."""
        readers, width = len(self.counts), shape.d_model
        learned, normed = mixing.query == "learned", mixing.key_norm
        sizes = {
            "query": (readers, width) if mixing.scored and learned else None,
            "projection": (readers, width, width) if mixing.scored and not learned else None,
            "gain": (readers, width) if mixing.scored and normed else None,
            "static": None if mixing.scored else (sum(self.counts),),
        }
        for name, size in sizes.items():
            parameter = None if size is None else nn.Parameter(torch.empty(size))
            self.register_parameter(name, parameter)

    def initialise(self, seed: int) -> None:
        """Zero scores: mixing starts uniform, which the paper calls mandatory."""
        for parameter in (self.query, self.projection, self.static):
            if parameter is not None:
                nn.init.zeros_(parameter)
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.mixing.mixing == "static_linear" and self.static is not None:
            parts = [torch.full((count,), 1 / count) for count in self.counts]
            self.static.copy_(torch.cat(parts))

    def source(
        self,
        values_BTD: Tensor,
        first: int,
        end: int | None = None,
        addend_BTD: Tensor | None = None,
    ) -> Source | FusedSource:
        """Makes a source for the readers from `first` on, all or up to `end`.

        Args:
            values_BTD: the source, or what `addend_BTD` makes it with.
            first: its first reader.
            end: the reader that ends its readers; None for all.
            addend_BTD: added to the values first.
        """
        first = max(first, self.first_mixing)
        stop = None if end is None else end - self.first_mixing
        rows = slice(first - self.first_mixing, stop)
        if self.fusible and not self.frozen and self.query is not None:
            queries = Queries(
                self.query, self.gain, self.mixing.logit_scale, *rows.indices(len(self.query))[:2]
            )
            source = fused.source(values_BTD, queries, first, addend_BTD)
            if source is not None:
                return source
        if addend_BTD is not None:
            values_BTD = values_BTD + addend_BTD
        if self.by_flash(values_BTD):
            return Source(values_BTD.to(torch.bfloat16), None, first, ())
        inverse_rms_BT1: Tensor | None = None
        scores_BTH: tuple[Tensor, ...] = ()
        if self.gain is not None:
            mean_square_BT1 = values_BTD.float().square().mean(-1, keepdim=True)
            inverse_rms_BT1 = (mean_square_BT1 + NORM_EPSILON).rsqrt()
        if self.query is not None:
            with torch.autocast(values_BTD.device.type, enabled=False):
                scores = self._scores(values_BTD.float(), self._as_queries(self.query[rows], rows))
            if inverse_rms_BT1 is not None:
                scores = scores * inverse_rms_BT1
            scores_BTH = scores.split(self.mixing.heads, -1)
        return Source(values_BTD, inverse_rms_BT1, first, scores_BTH)

    def by_flash(self, values: Tensor) -> bool:
        """Whether the package flash-attn-res scores and mixes such sources."""
        return self.flashable and not self.frozen and flash.takes(values)

    def _scores(self, values_BTD: Tensor, query_RD: Tensor) -> Tensor:
        """Products of all groups of channels, (B, T, R * H)."""
        if self.mixing.heads == 1:
            return values_BTD @ query_RD.T
        values_BTHK, query_RHK = self._grouped(values_BTD), self._grouped(query_RD)
        return torch.einsum("bthk,rhk->btrh", values_BTHK, query_RHK).flatten(-2)

    def _as_queries(self, query: Tensor, rows: slice | int) -> Tensor:
        """Folds gain and scale of the readers' keys into their queries (..., D), fp32."""
        folded = query if self.gain is None else query * self.gain[rows]
        if self.mixing.logit_scale != 1:
            folded = folded * self.mixing.logit_scale
        return folded.float()

    def _grouped(self, x: Tensor) -> Tensor:
        """Channels in groups: (..., D) to (..., H, K)."""
        return x.unflatten(-1, (self.mixing.heads, -1))

    def logits(self, reader: int, sources: tuple[Source, ...]) -> Tensor:
        """Scores of all sources for one reader, (S, B, T, H), fp32."""
        if self.projection is None:
            return torch.stack([source.score(reader) for source in sources])
        row, latest_BTD = reader - self.first_mixing, sources[-1].values_BTD.float()
        with torch.autocast(latest_BTD.device.type, enabled=False):
            query_BTD = F.linear(latest_BTD, self.projection[row].float())
        query_BTD = self._as_queries(query_BTD, row)
        scores = []
        for source in sources:
            score_BTH = self._grouped(query_BTD * source.values_BTD).sum(-1)
            rms = source.inverse_rms_BT1
            scores.append(score_BTH if rms is None else score_BTH * rms)
        return torch.stack(scores)

    def weights(self, reader: int, sources: tuple[Source, ...]) -> Tensor:
        """What multiplies each source: (S, B, T, H), or (S, 1, 1, 1) where it is static."""
        if self.static is None:
            logits = self.logits(reader, sources)
            return logits.sigmoid() if self.mixing.mixing == "sigmoid" else logits.softmax(0)
        row = reader - self.first_mixing
        start = sum(self.counts[:row])
        weights = self.static[start : start + self.counts[row]].float()
        if self.mixing.mixing == "static":
            weights = weights.softmax(0)
        return weights.view(-1, 1, 1, 1)

    def mix(self, reader: int, sources: Sources) -> Tensor:
        """What a reader gets, (B, T, D): the only source as it is, or the mix of several."""
        values = [source.values_BTD for source in sources]
        if len(sources) == 1:
            return values[0]
        fused_sources = [source for source in sources if isinstance(source, FusedSource)]
        if len(fused_sources) == len(sources):
            return fused.mix(fused_sources, reader)
        weights_SBTH = self.coefficient(self.weights(reader, plain(sources)))
        if self.mixing.heads == 1:
            return weighted_sum(weights_SBTH.squeeze(-1), values)
        groups = zip(*(source.chunk(self.mixing.heads, -1) for source in values), strict=True)
        mixes = zip(weights_SBTH.unbind(-1), groups, strict=True)
        return torch.cat([weighted_sum(weights_SBT, group) for weights_SBT, group in mixes], -1)

    def plan_of(self, slots: Sequence[int]) -> DecodePlan | None:
        """The compiled step where sublayers add to these sources; None where it mixes otherwise."""
        query = self.query
        if not self.published or query is None or self.mixing.window is not None or self.frozen:
            return None
        queries_RD = self._as_queries(query, slice(None))
        return DecodePlan(tuple(slots), queries_RD, self.gain is not None)

    def visible(self, sources: Sources) -> Sources:
        """The embedding and the latest sources of the window."""
        window = self.mixing.window
        return sources if window is None else (sources[0], *sources[1:][-window:])
