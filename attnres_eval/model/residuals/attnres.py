"""Attention Residuals: full, in blocks (arXiv:2603.15031), and in blocks of normalised outputs."""

from typing import NamedTuple

import torch
from torch import Tensor

from attnres_eval.model.kernels.decode import DecodePlan
from attnres_eval.model.kernels.depth import FusedSource
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

    def decode_plan(self) -> DecodePlan | None:
        return self.plan_of(range(1, self.shape.n_sublayers + 1))


class Part(NamedTuple):
    """An unfinished softmax over the finished blocks, for one reader (online softmax)."""

    maximum_BT1: Tensor
    normaliser_BT1: Tensor
    sum_BTD: Tensor


class BlockState(NamedTuple):
    """History of Block AttnRes."""

    finished: Sources
    """The embedding and the sums of finished blocks."""
    partial: Source | FusedSource | None = None
    """Sum of the running block's outputs so far; None before its first."""
    closing_BTD: Tensor | None = None
    """What the running block would leave behind if it ended here, where that is another sum."""
    parts: tuple[Part, ...] = ()
    """First phase of the running block's later sublayers; empty in the plain form."""


class BlockAttnRes(DepthAttention):
    """Attention over the embedding, the sums of finished blocks and the running partial sum.

    Section 3.2 of arXiv:2603.15031. A block's first sublayer reads finished blocks only.

    With `two_phase`, one batched pass over the finished blocks serves all sublayers of a block,
    and each then merges its partial sum by online softmax; the result is the same to rounding.
    """

    def __init__(self, shape: ModelShape, options: BlockOptions) -> None:
        mixing = options if isinstance(options, BlockAttnResOptions) else BlockAttnResOptions()
        counts = capped(block_sources(options.bounds(shape)), mixing.window)
        super().__init__(shape, options, counts, mixing)
        self.two_phase = mixing.two_phase
        self.fusible = self.fusible and not self.two_phase
        self.block_end = {
            sublayer: end for first, end in options.bounds(shape) for sublayer in range(first, end)
        }

    def start(self, embedding_BTD: Tensor) -> BlockState:
        return self._open_block((self.source(embedding_BTD, first=1),), first=0)

    def read(self, state: BlockState, sublayer: int) -> tuple[BlockState, Tensor]:
        return state, self._read(state, sublayer)

    def _read(self, state: BlockState, sublayer: int) -> Tensor:
        partial = state.partial
        if partial is None:
            return self.mix(sublayer, state.finished)
        if not state.parts:
            return self.mix(sublayer, self.visible((*state.finished, partial)))
        # The parts are those of the block's later sublayers, up to its end.
        part = state.parts[sublayer - self.block_end[sublayer]]
        (partial,) = plain((partial,))
        return _merge(part, partial.values_BTD, self.coefficient(partial.score(sublayer)))

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
        return self.mix(self.shape.n_sublayers, state.finished)

    def decode_plan(self) -> DecodePlan | None:
        ends = sorted(set(self.block_end.values()))
        return self.plan_of([1 + ends.index(end) for _, end in sorted(self.block_end.items())])

    def _open_block(self, finished: Sources, first: int) -> BlockState:
        # The first sublayer of a block has no partial sum to merge, so it takes the plain form.
        if self.two_phase and first + 1 < self.block_end.get(first, 0):
            return BlockState(finished, parts=self._first_phase(first + 1, finished))
        return BlockState(finished)

    def _first_phase(self, first: int, finished: Sources) -> tuple[Part, ...]:
        """Softmax parts over the finished blocks, one pass for the readers up to the block's end.

        The scores are marked as coefficients: all that multiplies a source follows from them.
        """
        readers = range(first, self.block_end[first])
        values_SBTD = torch.stack([source.values_BTD for source in finished]).float()
        logits_RSBT1 = torch.stack([self.logits(reader, plain(finished)) for reader in readers])
        logits_RSBT1 = self.coefficient(logits_RSBT1)
        maximum_RBT1 = logits_RSBT1.amax(1)
        weights_RSBT1 = (logits_RSBT1 - maximum_RBT1[:, None]).exp()
        with torch.autocast(values_SBTD.device.type, enabled=False):
            sums_RBTD = torch.einsum("rsbt,sbtd->rbtd", weights_RSBT1.squeeze(-1), values_SBTD)
        return tuple(map(Part, maximum_RBT1, weights_RSBT1.sum(1), sums_RBTD))


class RmsBlockAttnRes(BlockAttnRes):
    """Block AttnRes whose finished blocks are sums of f_j / rms(f_j); the partial sum stays raw."""

    def close(self, state: BlockState, output_BTD: Tensor) -> Tensor:
        normed_BTD = self.normalise(output_BTD)
        return normed_BTD if state.closing_BTD is None else state.closing_BTD + normed_BTD


def _merge(part: Part, partial_BTD: Tensor, logit_BT1: Tensor) -> Tensor:
    """Adds one more source to an unfinished softmax and finishes it: (B, T, D)."""
    maximum_BT1 = torch.maximum(part.maximum_BT1, logit_BT1)
    earlier_BT1 = (part.maximum_BT1 - maximum_BT1).exp()
    weight_BT1 = (logit_BT1 - maximum_BT1).exp()
    normaliser_BT1 = part.normaliser_BT1 * earlier_BT1 + weight_BT1
    mixed_BTD = part.sum_BTD * (earlier_BT1 / normaliser_BT1)
    mixed_BTD = mixed_BTD + partial_BTD.float() * (weight_BT1 / normaliser_BT1)
    return mixed_BTD.to(partial_BTD.dtype)
