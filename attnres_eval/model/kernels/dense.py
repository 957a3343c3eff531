"""Dense connections as compiled functions: sums of earlier states under given weights.

As in attention over depth, a reader's gradient concerns all of its sources, and each source
gathers its own out of its inbox in one pass when its last reader is done.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnres_eval.model.kernels.call import call
from attnres_eval.model.kernels.depth import Inbox
from attnres_eval.model.kernels.switch import FP32, kind


class Letter(NamedTuple):
    """What a reader tells a source during the backward pass."""

    gradients_BTD: tuple[Tensor | None, ...]
    """Of the sum of each way; None where it has none."""
    weights: Tensor
    """Of all ways and sources of the reader."""
    place: int
    """The source's among them."""


class DenseSource(NamedTuple):
    """A state that later sums read."""

    values_BTD: Tensor
    inbox: Inbox[Letter]


class _Source(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, inbox: Inbox[Letter]) -> Tensor:
        ctx.inbox = inbox
        ctx.set_materialize_grads(False)
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_values: Tensor | None) -> tuple[Tensor | None, None]:
        gradients, addresses, steps = [], [], []
        # The last reader was heard first.
        letters = ctx.inbox.take()[::-1]
        for letter in letters:
            ways, sources = letter.weights.shape[-2:]
            step = 0 if letter.weights.dim() == 2 else ways * sources
            for way, gradient in enumerate(letter.gradients_BTD):
                if gradient is not None:
                    gradients.append(gradient)
                    addresses.append(
                        letter.weights.data_ptr()
                        + (way * sources + letter.place) * letter.weights.element_size()
                    )
                    steps.append(step)
        if not gradients:
            return d_values, None
        d_values = None if d_values is None else d_values.contiguous()
        d_sum = torch.empty_like(gradients[0])
        width = d_sum.shape[-1]
        sizes = len(gradients), d_sum.numel() // width, width
        tensors = d_values, gradients, addresses, torch.tensor(steps), d_sum
        call("dense_source_backward", FP32, sizes, *tensors)
        return d_sum, None


class _Sums(torch.autograd.Function):
    """One sum for each way. The sources' gradients go to their inboxes."""

    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, inboxes: Sequence[Inbox[Letter]], *values: Tensor
    ) -> tuple[Tensor, ...]:
        weights = weights.contiguous()
        values = tuple(value.contiguous() for value in values)
        ways, sources = weights.shape[-2:]
        width = values[0].shape[-1]
        step = 0 if weights.dim() == 2 else ways * sources
        ctx.sizes = ways, sources, values[0].numel() // width, width, step
        ctx.inboxes = inboxes
        ctx.set_materialize_grads(False)
        sums = tuple(torch.empty_like(values[0]) for _ in range(ways))
        call("dense_forward", FP32, ctx.sizes, values, weights, sums)
        ctx.save_for_backward(weights, *values)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *d_sums: Tensor | None) -> tuple[Tensor | None, ...]:
        weights, *values = ctx.saved_tensors
        gradients = tuple(None if d is None else d.contiguous() for d in d_sums)
        d_weights = torch.empty_like(weights)
        call("dense_weights_backward", FP32, ctx.sizes, values, gradients, d_weights)
        for place, inbox in enumerate(ctx.inboxes):
            inbox.put(Letter(gradients, weights, place))
        return (d_weights, None, *(None for _ in values))


def source(values_BTD: Tensor) -> DenseSource | None:
    """A source of later sums, fp32; None where plain torch must do it."""
    if values_BTD.dtype != torch.float32 or kind(values_BTD) is None:
        return None
    inbox = Inbox[Letter]()
    return DenseSource(_Source.apply(values_BTD.contiguous(), inbox), inbox)


def weighted_sums(weights: Tensor, sources: Sequence[DenseSource]) -> tuple[Tensor, ...]:
    """Sums over sources of weight times values, C ways: C of (B, T, D).

    Args:
        weights: fp32, (B, T, C, S), or (C, S) where they are the same for all tokens.
        sources: S of them.
    """
    inboxes, values = [one.inbox for one in sources], [one.values_BTD for one in sources]
    return _Sums.apply(weights, inboxes, *values)
