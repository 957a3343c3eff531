"""Attention Residuals: full, in blocks (arXiv:2603.15031), and in blocks of normalised outputs."""

from typing import NamedTuple

import torch
from torch import Tensor

from attnres_eval.model.kernels.decode import DecodePlan
from attnres_eval.model.kernels.depth import FusedSource
from attnres_eval.model.residuals import flash
from attnres_eval.model.residuals.depth import DepthAttention, Source, Sources, plain
from attnres_eval.shape import ModelShape
from attnres_eval.variants.attnres import BlockOptions, block_sources, capped, full_sources
from attnres_eval.variants.block_attnres import BlockAttnResOptions
from attnres_eval.variants.full_attnres import FullAttnResOptions


class FullAttnRes(DepthAttention):
    """h_l = sum_i alpha_il v_i over the embedding and all earlier sublayer outputs.

    alpha_l = softmax_i(w_l . RMSNorm_l(v_i)); equations 1-4 of arXiv:2603.15031. The state is the
    sources so far.
    """

    def __init__(self, shape: ModelShape, options: FullAttnResOptions) -> None:
        counts = capped(full_sources(shape.n_sublayers), options.window)
        super().__init__(shape, options, counts, options)

    def start(self, embedding_BTD: Tensor) -> Sources:
        return (self.source(embedding_BTD, first=1),)

    def read(self, state: Sources, sublayer: int) -> tuple[Sources, Tensor]:
        return state, self.mix(sublayer, state)

    def write(self, state: Sources, sublayer: int, output_BTD: Tensor) -> Sources:
        return self.visible((*state, self.source(output_BTD, first=sublayer + 1)))

    def finish(self, state: Sources) -> Tensor:
        return self.mix(self.shape.n_sublayers, state)

    def pack(self, state: Sources) -> tuple[Tensor, ...]:
        return tuple(source.values_BTD for source in state)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> Sources:
        return tuple(self.source(values_BTD, first=2 * layer) for values_BTD in tensors)

    def decode_plan(self) -> DecodePlan | None:
        return self.plan_of(range(1, self.shape.n_sublayers + 1))


class Part(NamedTuple):
    """What one reader gets of the finished blocks alone, and how much that weighs."""

    mixed_BTD: Tensor
    logsumexp_BT1: Tensor
    """Of its scores of the finished blocks."""


class BlockState(NamedTuple):
    """History of Block AttnRes."""

    finished: Sources
    """The embedding and the sums of finished blocks."""
    partial: Source | FusedSource | None = None
    """Sum of the running block's outputs so far; None before its first."""
    closing_BTD: Tensor | None = None
    """What the running block would leave behind if it ended here, where that is another sum."""
    parts: tuple[Part, ...] = ()
    """First phase of the running block's readers; empty in the plain form."""


class BlockAttnRes(DepthAttention):
    """Attention over the embedding, the sums of finished blocks and the running partial sum.

    Section 3.2 of arXiv:2603.15031. A block's first sublayer reads finished blocks only.

    With `two_phase`, one batched pass over the finished blocks serves all sublayers of a block,
    and each then merges its partial sum by online softmax; the result is the same to rounding.
    The package flash-attn-res takes this form wherever it can compute it (see `flash`).
    """

    closes_apart = False
    """Whether a block leaves behind another sum than its readers see, the one of `close`."""

    def __init__(self, shape: ModelShape, options: BlockOptions) -> None:
        mixing = options if isinstance(options, BlockAttnResOptions) else BlockAttnResOptions()
        counts = capped(block_sources(options.bounds(shape)), mixing.window)
        super().__init__(shape, options, counts, mixing)
        self.two_phase = mixing.two_phase
        self.flashable = self.published and mixing.key_norm and mixing.window is None
        self.fusible = self.published and not self.two_phase
        self.block_end = {
            sublayer: end for first, end in options.bounds(shape) for sublayer in range(first, end)
        }

    def start(self, embedding_BTD: Tensor) -> BlockState:
        return self._open_block((self.source(embedding_BTD, first=1),), first=0)

    def read(self, state: BlockState, sublayer: int) -> tuple[BlockState, Tensor]:
        return state, self._read(state, sublayer)

    def _read(self, state: BlockState, sublayer: int) -> Tensor:
        finished, partial = state.finished, state.partial
        if not state.parts or sublayer < self.first_mixing:
            sources = finished if partial is None else self.visible((*finished, partial))
            return self.mix(sublayer, sources)
        # The parts are those of the block's readers, up to its end.
        part = state.parts[sublayer - self._end(sublayer)]
        if partial is None:
            return part.mixed_BTD.to(finished[0].values_BTD.dtype)
        (partial,) = plain((partial,))
        if self.by_flash(partial.values_BTD):
            (query_D,) = self._queries(range(sublayer, sublayer + 1))
            return flash.merge(*part, partial.values_BTD, query_D)
        return _merge(part, partial.values_BTD, self.coefficient(partial.score(sublayer)))

    def _end(self, reader: int) -> int:
        """The end of the reader's block; the output's aggregation is one of its own."""
        return self.block_end.get(reader, reader + 1)

    def _queries(self, readers: range) -> Tensor:
        """Queries with gain and scale in them, (R, D), fp32."""
        assert self.query is not None, "flashable"
        rows = slice(readers.start - self.first_mixing, readers.stop - self.first_mixing)
        return self._as_queries(self.query[rows], rows)

    def write(self, state: BlockState, sublayer: int, output_BTD: Tensor) -> BlockState:
        after, end = sublayer + 1, self.block_end[sublayer]
        closing = self.close(state, output_BTD)
        if after < end:
            partial = self._joined(state, output_BTD, after, after + 1)
            return state._replace(partial=partial, closing_BTD=closing)
        if closing is None:
            block = self._joined(state, output_BTD, after)
        else:
            block = self.source(closing, after)
        return self._open_block(self.visible((*state.finished, block)), first=end)

    def _joined(
        self, state: BlockState, output_BTD: Tensor, first: int, end: int | None = None
    ) -> Source | FusedSource:
        """The running block's sum with one more output, for the readers from `first` on."""
        if state.partial is None:
            return self.source(output_BTD, first, end)
        return self.source(state.partial.values_BTD, first, end, output_BTD)

    def close(self, state: BlockState, output_BTD: Tensor) -> Tensor | None:
        """What the block would leave behind if it ended with this output; None for its sum."""
        return None

    def finish(self, state: BlockState) -> Tensor:
        return self._read(state, self.shape.n_sublayers)

    def pack(self, state: BlockState) -> tuple[Tensor, ...]:
        """The running block's sum, where there is one, and the finished blocks."""
        running = () if state.partial is None else (state.partial.values_BTD,)
        closing = () if state.closing_BTD is None else (state.closing_BTD,)
        return *running, *closing, *(source.values_BTD for source in state.finished)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> BlockState:
        sublayer = 2 * layer
        in_block = self.block_end[sublayer - 1] > sublayer
        running = (1 + self.closes_apart) * in_block
        finished = tuple(self.source(values, first=sublayer) for values in tensors[running:])
        state = self._open_block(finished, first=sublayer)
        if not in_block:
            return state
        partial = self.source(tensors[0], sublayer, sublayer + 1)
        return state._replace(partial=partial, closing_BTD=tensors[1] if running > 1 else None)

    def decode_plan(self) -> DecodePlan | None:
        ends = sorted(set(self.block_end.values()))
        return self.plan_of([1 + ends.index(end) for _, end in sorted(self.block_end.items())])

    def _open_block(self, finished: Sources, first: int) -> BlockState:
        # The first reader of all has one source, and takes it as it is.
        readers = range(max(first, self.first_mixing), self._end(first))
        if readers and (self.two_phase or self.by_flash(finished[0].values_BTD)):
            return BlockState(finished, parts=self._first_phase(readers, finished))
        return BlockState(finished)

    def _first_phase(self, readers: range, finished: Sources) -> tuple[Part, ...]:
        """What each reader gets of the finished blocks, in one pass for all.

        The scores are marked as coefficients: all that multiplies a source follows from them.
        """
        values_SBTD = torch.stack([source.values_BTD for source in finished])
        if self.by_flash(values_SBTD):
            return tuple(map(Part, *flash.first_phase(values_SBTD, self._queries(readers))))
        logits_RSBT1 = torch.stack([self.logits(reader, plain(finished)) for reader in readers])
        logits_RSBT1 = self.coefficient(logits_RSBT1)
        weights_RSBT = logits_RSBT1.softmax(1).squeeze(-1)
        with torch.autocast(values_SBTD.device.type, enabled=False):
            mixed_RBTD = torch.einsum("rsbt,sbtd->rbtd", weights_RSBT, values_SBTD.float())
        return tuple(map(Part, mixed_RBTD, logits_RSBT1.logsumexp(1)))


class RmsBlockAttnRes(BlockAttnRes):
    """Block AttnRes whose finished blocks are sums of f_j / rms(f_j); the partial sum stays raw."""

    closes_apart = True

    def close(self, state: BlockState, output_BTD: Tensor) -> Tensor:
        normed_BTD = self.normalise(output_BTD)
        return normed_BTD if state.closing_BTD is None else state.closing_BTD + normed_BTD


def _merge(part: Part, partial_BTD: Tensor, logit_BT1: Tensor) -> Tensor:
    """Adds one more source to a softmax over others: (B, T, D)."""
    weight_BT1 = (logit_BT1 - part.logsumexp_BT1).sigmoid()
    return torch.lerp(part.mixed_BTD, partial_BTD.float(), weight_BT1).to(partial_BTD.dtype)
