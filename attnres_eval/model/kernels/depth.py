"""Attention over depth as compiled functions: each source scored once, its gradient written once.

A reader's gradient concerns all of its sources. Autograd would make one tensor for each of them
and add them up; here a reader leaves what its sources need in their inboxes, and each source
gathers its own gradient in one pass when its last reader is done. L readers of up to L sources
then cost one reading of a (B, T, D) tensor for each pair, forwards and backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnres_eval.model.kernels.call import call, output_dtype, row_addresses
from attnres_eval.model.kernels.switch import kind


class Letter(NamedTuple):
    """What a reader tells a source during the backward pass."""

    query: int
    """The reader's row among the source's queries."""
    gradient_MD: Tensor
    """Of what the reader got."""
    weights_SM: Tensor
    """The weights of all of the reader's sources."""
    weights_at: int
    """Address of the source's own, (M), among them."""
    means_M: Tensor
    """The gradient times what the reader got, summed over channels."""


Sent = TypeVar("Sent")


class Inbox(Generic[Sent]):
    """A source's letters of the backward pass that is under way."""

    def __init__(self) -> None:
        self.task = -1
        self.letters: list[Sent] = []

    def put(self, letter: Sent) -> None:
        """Adds a letter, and drops those that an earlier backward pass left unread."""
        if self.task != (task := _backward_pass()):
            self.task, self.letters = task, []
        self.letters.append(letter)

    def take(self) -> list[Sent]:
        """All letters of this backward pass."""
        letters = self.letters if self.task == _backward_pass() else []
        self.task, self.letters = -1, []
        return letters


def _backward_pass() -> int:
    """Number of the backward pass that this thread is in."""
    return torch._C._current_graph_task_id()


class FusedSource(NamedTuple):
    """A source that the kernels have scored, for the readers from `first_reader` on."""

    values_BTD: Tensor
    scores_RM: Tensor
    """Logits, fp32, of M = B T tokens. No gradient goes through them: the inbox takes it."""
    first_reader: int
    inbox: Inbox[Letter]
    kind: int


@dataclass(frozen=True)
class Queries:
    """Queries of all readers, and which of them a source is for."""

    query_RD: Tensor
    gain_RD: Tensor | None
    """Of the readers' key norms; None without a norm."""
    scale: float
    """Multiplies all scores."""
    first: int
    end: int
    """Rows from `first` up to `end`."""

    def __len__(self) -> int:
        return self.end - self.first

    def addresses(self, of: Tensor | None, readers: Sequence[int]) -> list[int] | None:
        """Where the readers' rows of a tensor like the queries begin; readers count from first."""
        if of is None:
            return None
        rows = row_addresses(of, self.first)
        return [rows[reader] for reader in readers]


class _Source(torch.autograd.Function):
    """One tensor, or the sum of two, as a source; returns it and its scores."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        addend: Tensor | None,
        query_RD: Tensor,
        gain_RD: Tensor | None,
        queries: Queries,
        inbox: Inbox[Letter],
        which: int,
    ) -> tuple[Tensor, Tensor]:
        source, inverse_rms, scores = _score(values, addend, queries, which)
        ctx.save_for_backward(source, inverse_rms, query_RD, gain_RD)
        ctx.place, ctx.inbox, ctx.kind = (queries.scale, queries.first, queries.end), inbox, which
        ctx.two = addend is not None
        ctx.mark_non_differentiable(scores)
        ctx.set_materialize_grads(False)
        return source, scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_source: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        source, inverse_rms, query_RD, gain_RD = ctx.saved_tensors
        queries = Queries(query_RD, gain_RD, *ctx.place)
        letters = ctx.inbox.take()
        if not letters:
            return d_source, d_source if ctx.two else None, None, None, None, None, None
        # The last reader was heard first.
        letters.reverse()
        readers = [letter.query for letter in letters]
        gradients = [letter.gradient_MD for letter in letters]
        means = [letter.means_M for letter in letters]
        weights = [letter.weights_at for letter in letters]
        d_values, d_query = torch.empty_like(source), torch.zeros_like(query_RD)
        d_gain = None if gain_RD is None else torch.zeros_like(gain_RD)
        call(
            "source_backward",
            ctx.kind,
            (len(letters), len(inverse_rms), source.shape[-1], queries.scale),
            *(source, inverse_rms),
            *(queries.addresses(of, readers) for of in (query_RD, gain_RD)),
            *(gradients, weights, means),
            None if d_source is None else d_source.contiguous(),
            d_values,
            *(queries.addresses(of, readers) for of in (d_query, d_gain)),
        )
        return d_values, d_values if ctx.two else None, d_query, d_gain, None, None, None


def _score(
    values: Tensor, addend: Tensor | None, queries: Queries, which: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The source, (B, T, D), one over its RMS, (M), and its scores, (R, M)."""
    values = values.contiguous()
    addend = None if addend is None else addend.contiguous()
    width, readers = values.shape[-1], range(len(queries))
    tokens = values.numel() // width
    scores, inverse_rms = torch.empty(len(readers), tokens), torch.empty(tokens)
    source = values.view_as(values) if addend is None else torch.empty_like(values)
    rows = [queries.addresses(of, readers) for of in (queries.query_RD, queries.gain_RD)]
    numbers = tokens, width, len(readers), queries.scale
    call("source_forward", which, numbers, values, addend, *rows, source, inverse_rms, scores)
    return source, inverse_rms, scores


class _Mix(torch.autograd.Function):
    """What one reader gets. Its gradient goes to the sources' inboxes."""

    @staticmethod
    def forward(ctx: Any, sources: Sequence[FusedSource], reader: int, *values: Tensor) -> Tensor:
        mixed, weights_SM = _mix(sources, reader)
        ctx.save_for_backward(mixed, weights_SM)
        ctx.boxes = [(source.inbox, reader - source.first_reader) for source in sources]
        ctx.kind = sources[-1].kind
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_mixed: Tensor) -> tuple[None, ...]:
        mixed, weights_SM = ctx.saved_tensors
        d_mixed = d_mixed.contiguous()
        width = mixed.shape[-1]
        means = torch.empty(mixed.numel() // width)
        call("mix_backward", ctx.kind, (len(means), width), d_mixed, mixed, means)
        for (inbox, row), weights_at in zip(ctx.boxes, row_addresses(weights_SM), strict=True):
            inbox.put(Letter(row, d_mixed, weights_SM, weights_at, means))
        return (None, None, *(None for _ in ctx.boxes))


def _mix(sources: Sequence[FusedSource], reader: int) -> tuple[Tensor, Tensor]:
    """The mix, (B, T, D), and its weights, (S, M)."""
    values, which = [source.values_BTD for source in sources], sources[-1].kind
    dtype = output_dtype(which)
    wide = sum(value.dtype != dtype for value in values)
    assert all(value.dtype == dtype for value in values[wide:]), "fp32 sources come first"
    scores = [row_addresses(one.scores_RM, reader - one.first_reader)[0] for one in sources]
    tokens = sources[0].scores_RM.shape[1]
    mixed = torch.empty_like(values[0], dtype=dtype)
    weights_SM = torch.empty(len(sources), tokens)
    sizes = len(sources), wide, tokens, mixed.shape[-1]
    call("mix_forward", which, sizes, values, scores, weights_SM, mixed)
    return mixed, weights_SM


def source(
    values_BTD: Tensor, queries: Queries, first_reader: int, addend_BTD: Tensor | None = None
) -> FusedSource | None:
    """A source for readers from `first_reader` on, scored; None where plain torch must do it.

    Args:
        values_BTD: the source, or what `addend_BTD` makes it with.
        queries: its readers', in fp32.
        first_reader: whose query the first row is.
        addend_BTD: added to the values first.
    """
    which = kind(values_BTD, queries.query_RD, queries.gain_RD)
    rows = queries.query_RD, queries.gain_RD
    if which is None or any(one is not None and not one.is_contiguous() for one in rows):
        return None
    inbox = Inbox[Letter]()
    if addend_BTD is not None:
        addend_BTD = addend_BTD.to(values_BTD.dtype)
    if torch.is_grad_enabled():
        kept, scores = _Source.apply(
            values_BTD, addend_BTD, queries.query_RD, queries.gain_RD, queries, inbox, which
        )
    else:
        kept, _, scores = _score(values_BTD, addend_BTD, queries, which)
    return FusedSource(kept, scores, first_reader, inbox, which)


def mix(sources: Sequence[FusedSource], reader: int) -> Tensor:
    """What a reader gets of several sources: sum of softmax weight times raw values, (B, T, D)."""
    if not torch.is_grad_enabled():
        return _mix(sources, reader)[0]
    return _Mix.apply(sources, reader, *(source.values_BTD for source in sources))
