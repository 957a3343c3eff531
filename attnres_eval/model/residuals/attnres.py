"""Attention Residuals, full and block (arXiv:2603.15031)."""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape, block_bounds
from attnres_eval.variants import BlockAttnResOptions, Options, block_sources, full_sources

KEY_EPSILON = 1e-6


class DepthAttention(nn.Module):
    """One reader's pseudo-query and the gain of its key norm.

    e_i = w . (gain * v_i / rms(v_i)), without a 1 / sqrt(d) scale.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(d_model))
        self.gain = nn.Parameter(torch.empty(d_model))

    def initialise(self) -> None:
        """Zero queries: mixing starts uniform, which the paper calls mandatory."""
        nn.init.zeros_(self.query)
        nn.init.ones_(self.gain)

    def folded_query(self) -> Tensor:
        """Query times gain, (D,): all that the scores need of both."""
        return self.query * self.gain


class Source(NamedTuple):
    """A source as its readers see it: the RMS is computed once, where the source is written."""

    values_BTD: Tensor
    inverse_rms_BT: Tensor

    @classmethod
    def of(cls, values_BTD: Tensor) -> "Source":
        """Wraps raw values; 1 / rms over the last dimension is taken in fp32."""
        mean_square_BT = values_BTD.float().square().mean(-1)
        return cls(values_BTD, (mean_square_BT + KEY_EPSILON).rsqrt())

    def score(self, folded_query_D: Tensor) -> Tensor:
        """Logit of this source for one reader, fp32, (B, T)."""
        return (self.values_BTD.float() @ folded_query_D.float()) * self.inverse_rms_BT


Sources = tuple[Source, ...]


def mix(folded_query_D: Tensor, sources: Sources) -> Tensor:
    """Softmax over sources of their scores, times their raw values: (B, T, D)."""
    logits_SBT = torch.stack([source.score(folded_query_D) for source in sources])
    weights_SBT1 = F.softmax(logits_SBT, dim=0).unsqueeze(-1)
    mixed_BTD = weights_SBT1[0] * sources[0].values_BTD
    for weight_BT1, source in zip(weights_SBT1[1:], sources[1:], strict=True):
        mixed_BTD = torch.addcmul(mixed_BTD, weight_BT1, source.values_BTD.float())
    return mixed_BTD.to(sources[0].values_BTD.dtype)


class AttnRes(Residual):
    """What Full and Block share: one depth attention a reader, none where there is one source.

    Readers are the sublayers and, last, the aggregation before the final norm.
    """

    def __init__(self, shape: ModelShape, options: Options, sources: list[int]) -> None:
        super().__init__(shape, options)
        self.readers = nn.ModuleDict(
            {
                str(reader): DepthAttention(shape.d_model)
                for reader, count in enumerate(sources)
                if count > 1
            }
        )

    def initialise(self) -> None:
        for reader in self.readers.values():
            cast(DepthAttention, reader).initialise()

    def folded_query(self, reader: int) -> Tensor:
        """The reader's query times its gain, (D,)."""
        return cast(DepthAttention, self.readers[str(reader)]).folded_query()

    def mix(self, reader: int, sources: Sources) -> Tensor:
        """What a reader gets, (B, T, D): the only source as it is, or the mix of several."""
        if len(sources) == 1:
            return sources[0].values_BTD
        return mix(self.folded_query(reader), sources)


class FullAttnRes(AttnRes):
    """h_l = sum_i alpha_il v_i over the embedding and all earlier sublayer outputs.

    alpha_l = softmax_i(w_l . RMSNorm_l(v_i)); equations 1-4 of arXiv:2603.15031. The state is the
    sources so far.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__(shape, options, full_sources(shape.n_sublayers))

    def start(self, embedding_BTD: Tensor) -> Sources:
        return (Source.of(embedding_BTD),)

    def read(self, state: Sources, sublayer: int) -> Tensor:
        return self.mix(sublayer, state)

    def write(self, state: Sources, sublayer: int, output_BTD: Tensor) -> Sources:
        return (*state, Source.of(output_BTD))

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
    """First phase of the running block's sublayers; empty in the plain form."""


class BlockAttnRes(AttnRes):
    """Attention over the embedding, the sums of finished blocks and the running partial sum.

    Section 3.2 of arXiv:2603.15031. A block's first sublayer reads finished blocks only.

    With `two_phase`, one batched pass over the finished blocks serves all sublayers of a block,
    and each then merges its partial sum by online softmax; the result is the same to rounding.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, BlockAttnResOptions)
        super().__init__(shape, options, block_sources(shape.n_sublayers, options.num_blocks))
        self.two_phase = options.two_phase
        self.block_end = {
            sublayer: end
            for first, end in block_bounds(shape.n_sublayers, options.num_blocks)
            for sublayer in range(first, end)
        }

    def start(self, embedding_BTD: Tensor) -> BlockState:
        return self._open_block((Source.of(embedding_BTD),), first=0)

    def read(self, state: BlockState, sublayer: int) -> Tensor:
        if state.partial_BTD is None:
            return self.mix(sublayer, state.finished)
        partial = Source.of(state.partial_BTD)
        if not state.parts:
            return self.mix(sublayer, (*state.finished, partial))
        # The parts are those of the block's later sublayers, up to its end.
        part = state.parts[sublayer - self.block_end[sublayer]]
        return _merge(part, partial, partial.score(self.folded_query(sublayer)))

    def write(self, state: BlockState, sublayer: int, output_BTD: Tensor) -> BlockState:
        partial = output_BTD if state.partial_BTD is None else state.partial_BTD + output_BTD
        if sublayer + 1 == self.block_end[sublayer]:
            return self._open_block((*state.finished, Source.of(partial)), first=sublayer + 1)
        return state._replace(partial_BTD=partial)

    def finish(self, state: BlockState) -> Tensor:
        return self.mix(self.shape.n_sublayers, state.finished)

    def _open_block(self, finished: Sources, first: int) -> BlockState:
        parts: tuple[Part, ...] = ()
        # The first sublayer of a block has no partial sum to merge, so it takes the plain form.
        if self.two_phase and first < self.shape.n_sublayers:
            readers = range(first + 1, self.block_end[first])
            if readers:
                queries_RD = torch.stack([self.folded_query(reader) for reader in readers])
                parts = _first_phase(queries_RD, finished)
        return BlockState(finished, None, parts)


def _first_phase(queries_RD: Tensor, finished: Sources) -> tuple[Part, ...]:
    """Softmax parts over the finished blocks, one pass for all R readers."""
    values_SBTD = torch.stack([source.values_BTD for source in finished]).float()
    inverse_rms_SBT = torch.stack([source.inverse_rms_BT for source in finished])
    logits_RSBT = torch.einsum("rd,sbtd->rsbt", queries_RD.float(), values_SBTD) * inverse_rms_SBT
    maximum_RBT = logits_RSBT.amax(1)
    weights_RSBT = (logits_RSBT - maximum_RBT[:, None]).exp()
    sums_RBTD = torch.einsum("rsbt,sbtd->rbtd", weights_RSBT, values_SBTD)
    return tuple(map(Part, maximum_RBT, weights_RSBT.sum(1), sums_RBTD))


def _merge(part: Part, partial: Source, logit_BT: Tensor) -> Tensor:
    """Adds one more source to an unfinished softmax and finishes it."""
    maximum_BT = torch.maximum(part.maximum_BT, logit_BT)
    earlier_BT = (part.maximum_BT - maximum_BT).exp()
    weight_BT = (logit_BT - maximum_BT).exp()
    normaliser_BT = part.normaliser_BT * earlier_BT + weight_BT
    mixed_BTD = part.sum_BTD * (earlier_BT / normaliser_BT).unsqueeze(-1)
    mixed_BTD = mixed_BTD + partial.values_BTD.float() * (weight_BT / normaliser_BT).unsqueeze(-1)
    return mixed_BTD.to(partial.values_BTD.dtype)
