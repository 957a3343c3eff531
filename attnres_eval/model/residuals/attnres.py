"""Attention Residuals, full and block (arXiv:2603.15031)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape, block_bounds
from attnres_eval.variants import BlockAttnResOptions, Options

KEY_EPSILON = 1e-6


class Source(NamedTuple):
    """A source as its readers see it.

    What does not depend on the reader is computed once, where the source is written: its RMS, and
    in one product its scores for all readers still to come.
    """

    values_BTD: Tensor
    first_reader: int
    """The reader that the first of the scores is for."""
    scores_RBT: tuple[Tensor, ...]
    """Logits w_r . RMSNorm_r(v), fp32, one (B, T) a reader."""

    def score(self, reader: int) -> Tensor:
        """The logit of this source for one reader, (B, T)."""
        return self.scores_RBT[reader - self.first_reader]


Sources = tuple[Source, ...]


def weighted_sum(weights_SBT: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum over sources of weight times raw values, in fp32, (B, T, D)."""
    weights = weights_SBT.unsqueeze(-1).unbind()
    mixed_BTD = weights[0] * values[0]
    for weight_BT1, values_BTD in zip(weights[1:], values[1:], strict=True):
        mixed_BTD = torch.addcmul(mixed_BTD, weight_BT1, values_BTD.float())
    return mixed_BTD.to(values[0].dtype)


class AttnRes(Residual):
    """What Full and Block share: a pseudo-query and the gain of a key norm for every reader.

    Readers are the sublayers and, last, the aggregation before the final norm. Sublayer 0 has one
    source and needs neither, so that row r - 1 belongs to reader r. A score is
    w . (gain * v / rms(v)), without a 1 / sqrt(d) scale.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__(shape, options)
        self.query = nn.Parameter(torch.empty(shape.n_sublayers, shape.d_model))
        self.gain = nn.Parameter(torch.empty(shape.n_sublayers, shape.d_model))

    def initialise(self) -> None:
        """Zero queries: mixing starts uniform, which the paper calls mandatory."""
        nn.init.zeros_(self.query)
        nn.init.ones_(self.gain)

    def source(self, values_BTD: Tensor, first: int, end: int | None = None) -> Source:
        """Scores a new source for the readers from `first` on, all or up to `end`."""
        rows = slice(first - 1, None if end is None else end - 1)
        folded_RD = (self.query[rows] * self.gain[rows]).float()
        values = values_BTD.float()
        inverse_rms_BT1 = (values.square().mean(-1, keepdim=True) + KEY_EPSILON).rsqrt()
        scores_BTR = (values @ folded_RD.T) * inverse_rms_BT1
        return Source(values_BTD, first, scores_BTR.unbind(-1))

    def mix(self, reader: int, sources: Sources) -> Tensor:
        """What a reader gets, (B, T, D): the only source as it is, or the mix of several."""
        if len(sources) == 1:
            return sources[0].values_BTD
        weights_SBT = F.softmax(torch.stack([source.score(reader) for source in sources]), dim=0)
        return weighted_sum(weights_SBT, [source.values_BTD for source in sources])


class FullAttnRes(AttnRes):
    """h_l = sum_i alpha_il v_i over the embedding and all earlier sublayer outputs.

    alpha_l = softmax_i(w_l . RMSNorm_l(v_i)); equations 1-4 of arXiv:2603.15031. The state is the
    sources so far.
    """

    def start(self, embedding_BTD: Tensor) -> Sources:
        return (self.source(embedding_BTD, first=1),)

    def read(self, state: Sources, sublayer: int) -> Tensor:
        return self.mix(sublayer, state)

    def write(self, state: Sources, sublayer: int, output_BTD: Tensor) -> Sources:
        return (*state, self.source(output_BTD, first=sublayer + 1))

    def finish(self, state: Sources) -> Tensor:
        return self.mix(self.shape.n_sublayers, state)


class Part(NamedTuple):
    """An unfinished softmax over the finished blocks, for one reader (online softmax)."""

    maximum_BT: Tensor
    normaliser_BT: Tensor
    sum_BTD: Tensor


class BlockState(NamedTuple):
    """History of Block AttnRes."""

    finished: Sources
    """The embedding and the sums of finished blocks."""
    partial_BTD: Tensor | None
    """Sum of the running block's outputs so far; None before its first."""
    parts: tuple[Part, ...]
    """First phase of the running block's later sublayers; empty in the plain form."""


class BlockAttnRes(AttnRes):
    """Attention over the embedding, the sums of finished blocks and the running partial sum.

    Section 3.2 of arXiv:2603.15031. A block's first sublayer reads finished blocks only.

    With `two_phase`, one batched pass over the finished blocks serves all sublayers of a block,
    and each then merges its partial sum by online softmax; the result is the same to rounding.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, BlockAttnResOptions)
        super().__init__(shape, options)
        self.two_phase = options.two_phase
        self.block_end = {
            sublayer: end
            for first, end in block_bounds(shape.n_sublayers, options.num_blocks)
            for sublayer in range(first, end)
        }

    def start(self, embedding_BTD: Tensor) -> BlockState:
        # Reader 0 has one source, which it takes as it is.
        return self._open_block((self.source(embedding_BTD, first=1),), first=0)

    def read(self, state: BlockState, sublayer: int) -> Tensor:
        if state.partial_BTD is None:
            return self.mix(sublayer, state.finished)
        partial = self.source(state.partial_BTD, first=sublayer, end=sublayer + 1)
        if not state.parts:
            return self.mix(sublayer, (*state.finished, partial))
        # The parts are those of the block's later sublayers, up to its end.
        part = state.parts[sublayer - self.block_end[sublayer]]
        return _merge(part, partial.values_BTD, partial.score(sublayer))

    def write(self, state: BlockState, sublayer: int, output_BTD: Tensor) -> BlockState:
        partial = output_BTD if state.partial_BTD is None else state.partial_BTD + output_BTD
        end = self.block_end[sublayer]
        if sublayer + 1 == end:
            return self._open_block((*state.finished, self.source(partial, first=end)), first=end)
        return state._replace(partial_BTD=partial)

    def finish(self, state: BlockState) -> Tensor:
        return self.mix(self.shape.n_sublayers, state.finished)

    def _open_block(self, finished: Sources, first: int) -> BlockState:
        parts: tuple[Part, ...] = ()
        # The first sublayer of a block has no partial sum to merge, so it takes the plain form.
        if self.two_phase and first < self.shape.n_sublayers:
            readers = range(first + 1, self.block_end[first])
            if readers:
                parts = _first_phase(readers, finished)
        return BlockState(finished, None, parts)


def _first_phase(readers: range, finished: Sources) -> tuple[Part, ...]:
    """Softmax parts over the finished blocks, one pass for all R readers."""
    values_SBTD = torch.stack([source.values_BTD for source in finished]).float()
    logits_RSBT = torch.stack(
        [torch.stack([source.score(reader) for source in finished]) for reader in readers]
    )
    maximum_RBT = logits_RSBT.amax(1)
    weights_RSBT = (logits_RSBT - maximum_RBT[:, None]).exp()
    sums_RBTD = torch.einsum("rsbt,sbtd->rbtd", weights_RSBT, values_SBTD)
    return tuple(map(Part, maximum_RBT, weights_RSBT.sum(1), sums_RBTD))


def _merge(part: Part, partial_BTD: Tensor, logit_BT: Tensor) -> Tensor:
    """Adds one more source to an unfinished softmax and finishes it."""
    maximum_BT = torch.maximum(part.maximum_BT, logit_BT)
    earlier_BT = (part.maximum_BT - maximum_BT).exp()
    weight_BT = (logit_BT - maximum_BT).exp()
    normaliser_BT = part.normaliser_BT * earlier_BT + weight_BT
    mixed_BTD = part.sum_BTD * (earlier_BT / normaliser_BT).unsqueeze(-1)
    mixed_BTD = mixed_BTD + partial_BTD.float() * (weight_BT / normaliser_BT).unsqueeze(-1)
    return mixed_BTD.to(partial_BTD.dtype)
