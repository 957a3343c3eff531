"""The Gated Residual as compiled functions: streams normalised, gated and averaged in one pass.

The gates, as wide as the streams, stay in cache: the backward pass makes them again of their
bottleneck. The streams go from the reading to the writing through the reading's own node, which so
adds its gradient to the writing's.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnres_eval.model.kernels.call import call, output_dtype
from attnres_eval.model.kernels.switch import kind


class GatedMean(NamedTuple):
    """What was read."""

    read_BTD: Tensor
    write_BTN: Tensor | None
    """How much of the sublayer's output each stream gets; None without write weights."""
    streams_BTND: Tensor
    """As they were."""


class _GatedMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, streams: Tensor, gain: Tensor, weights: Tensor, up: Tensor, which: int
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        streams, gain, weights, up = (x.contiguous() for x in (streams, gain, weights, up))
        *batch, count, width = streams.shape
        outputs, rank = len(weights), up.shape[1]
        tokens = streams.numel() // (count * width)
        read, logits = streams.new_empty(*batch, width), streams.new_empty(tokens, outputs)
        write = streams.new_empty(*batch, count) if outputs > rank else None
        ctx.kind, ctx.sizes = which, (tokens, count, width, rank, outputs)
        tensors = streams, gain, weights, up, logits
        call("gated_forward", which, ctx.sizes, *tensors, write, read)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return read, write, streams.view_as(streams)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_read: Tensor | None, d_write: Tensor | None, d_streams: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        streams = saved[0]
        if d_read is None:
            d_read = streams.new_zeros(*streams.shape[:-2], streams.shape[-1])
        after = (None if d is None else d.contiguous() for d in (d_read, d_write, d_streams))
        gradients = [torch.empty_like(x) for x in saved[:4]]
        call("gated_backward", ctx.kind, ctx.sizes, *saved, *after, *gradients)
        return (*gradients, None)


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, streams: Tensor, write: Tensor, output: Tensor, which: int) -> Tensor:
        streams, write, output = (x.contiguous() for x in (streams, write, output))
        *_, count, width = streams.shape
        ctx.kind, ctx.sizes = which, (streams.numel() // (count * width), count, width)
        written = torch.empty_like(streams)
        call("streams_add_forward", which, ctx.sizes, streams, write, output, written)
        ctx.save_for_backward(write, output)
        return written

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_written: Tensor) -> tuple[Tensor | None, ...]:
        d_written, saved = d_written.contiguous(), ctx.saved_tensors
        gradients = [torch.empty_like(x) for x in saved]
        tensors = *saved, d_written, *gradients
        call("streams_add_backward", ctx.kind, ctx.sizes, *tensors)
        return (d_written, *gradients, None)


def takes(streams_BTND: Tensor) -> bool:
    """Whether these functions take such streams, given parameters in fp32."""
    return streams_BTND.dtype == torch.float32 and kind(streams_BTND) is not None


def gated_mean(
    streams_BTND: Tensor, gain_ND: Tensor, weights_OI: Tensor, up_IR: Tensor
) -> GatedMean | None:
    """mean_n sigmoid(W_up silu(z))_n * h_n, with h = RMSNorm(H_n) * gain and z = W vec(h) / N.

    None where plain torch must do it.

    Args:
        streams_BTND: H, fp32.
        gain_ND: of the norms.
        weights_OI: W: R rows of the bottleneck; then N more, or none, whose 2 sigmoid(z) are the
            write weights.
        up_IR: W_up, I = N D.
    """
    which = kind(streams_BTND, gain_ND, weights_OI, up_IR)
    if which is None or not takes(streams_BTND):
        return None
    return GatedMean(*_GatedMean.apply(streams_BTND, gain_ND, weights_OI, up_IR, which))


def add(streams_BTND: Tensor, write_BTN: Tensor, output_BTD: Tensor) -> Tensor | None:
    """H_n + s_n f for all streams, (B, T, N, D); None where plain torch must do it."""
    which = kind(streams_BTND, write_BTN)
    if which is None or not takes(streams_BTND) or output_BTD.dtype != output_dtype(which):
        return None
    return _Add.apply(streams_BTND, write_BTN, output_BTD, which)
