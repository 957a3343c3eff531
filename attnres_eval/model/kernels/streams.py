"""Several streams as compiled functions: read through weights made of them, mixed and written.

A sublayer's reading makes its weights of the streams and reads with them in one pass over the
streams; its writing mixes and adds in another. The streams go from the reading to the writing
through the reading's own node, which so adds its gradient to the writing's while it has the
streams in cache.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnres_eval.model.kernels.call import call, output_dtype
from attnres_eval.model.kernels.switch import FP32, kind


class GateKind(IntEnum):
    """How weights come of a projection p; `setting` and `permutations` are of `Gate`."""

    LEARNED = 0
    """offset + scale * tanh(p), by stream; without the tanh where `setting` is 0."""
    SINKHORN = 1
    """Sigmoids, and `setting` iterations of Sinkhorn's."""
    PERMUTATIONS = 2
    """Sigmoids, and a softmax over permutation matrices."""
    READ = 3
    """Sigmoids to read with; nothing is written."""


class Gate(NamedTuple):
    """Where the weights of N streams of width D come from: all fp32."""

    kind: GateKind
    weight_OI: Tensor
    """Projects norm(vec(H)), I = N D, or where learned norm(H_n), I = D."""
    scale_O: Tensor
    """Multiplies the projection."""
    offset: Tensor
    """Added to that: (O,), or where learned (N, O)."""
    setting: int = 0
    centred: bool = False
    """Whether the norm is a LayerNorm rather than an RMSNorm."""
    permutations_FNN: Tensor | None = None


class FusedReading(NamedTuple):
    """The streams between a sublayer's reading and its writing."""

    streams_BTND: Tensor
    weights_BTKN: Tensor
    """R rows that read, N that mix, one that writes."""


class _Read(torch.autograd.Function):
    """What is read, the weights, and the streams as they were."""

    @staticmethod
    def forward(
        ctx: Any,
        streams: Tensor,
        weight: Tensor,
        scale: Tensor,
        offset: Tensor,
        gate: Gate,
        reads: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        streams, weight, scale, offset = (x.contiguous() for x in (streams, weight, scale, offset))
        *batch, count, width = streams.shape
        tokens, outputs = streams.numel() // (count * width), len(weight)
        rows = 1 if gate.kind == GateKind.READ else reads + count + 1
        projected = streams.new_empty(tokens * count * width // weight.shape[1], outputs)
        weights = streams.new_empty(*batch, rows, count)
        read = streams.new_empty(*batch, reads * width)
        ctx.sizes = (tokens, count, width, reads, outputs)
        ctx.sizes += (int(gate.kind), gate.setting, int(gate.centred))
        inputs = streams, weight, scale, offset, gate.permutations_FNN
        call("streams_read_forward", FP32, ctx.sizes, *inputs, projected, weights, read)
        ctx.save_for_backward(*inputs, projected, weights)
        ctx.set_materialize_grads(False)
        return read, weights, streams.view_as(streams)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_read: Tensor | None, d_weights: Tensor | None, d_streams: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        after = (None if d is None else d.contiguous() for d in (d_read, d_weights, d_streams))
        gradients = [torch.empty_like(x) for x in saved[:4]]
        call("streams_read_backward", FP32, ctx.sizes, *saved, *after, *gradients)
        return (*gradients, None, None)


class _Write(torch.autograd.Function):
    """The streams after mixing, with the output added."""

    @staticmethod
    def forward(ctx: Any, streams: Tensor, weights: Tensor, output: Tensor, which: int) -> Tensor:
        streams, weights, output = (x.contiguous() for x in (streams, weights, output))
        count, width = streams.shape[-2:]
        rows, own = weights.shape[-2], output.shape[-1] != width
        tokens = streams.numel() // (count * width)
        ctx.sizes = tokens, count, width, rows - count - 1, rows, int(own)
        ctx.kind = which
        written = torch.empty_like(streams)
        call("streams_write_forward", which, ctx.sizes, streams, weights, output, written)
        ctx.save_for_backward(streams, weights, output)
        return written

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_written: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        gradients = [torch.empty_like(x) for x in saved]
        tensors = *saved, d_written.contiguous(), *gradients
        call("streams_write_backward", ctx.kind, ctx.sizes, *tensors)
        return (*gradients, None)


def takes(streams_BTND: Tensor) -> bool:
    """Whether `read` takes these streams, given a gate in fp32."""
    return streams_BTND.dtype == torch.float32 and kind(streams_BTND) is not None


def read(streams_BTND: Tensor, gate: Gate, reads: int) -> tuple[FusedReading, Tensor] | None:
    """What a sublayer reads, (B, T, R D), and its reading; None where plain torch must do it.

    Args:
        streams_BTND: the streams, fp32.
        gate: makes the weights of them.
        reads: R combinations of the streams, which lie side by side in what is read.
    """
    parameters = gate.weight_OI, gate.scale_O, gate.offset
    if not takes(streams_BTND) or kind(streams_BTND, *parameters) is None:
        return None
    u, weights_BTKN, streams_BTND = _Read.apply(streams_BTND, *parameters, gate, reads)
    return FusedReading(streams_BTND, weights_BTKN), u


def write(reading: FusedReading, output_BTC: Tensor) -> Tensor | None:
    """The streams after mixing and writing, (B, T, N, D); None where plain torch must do it.

    Args:
        reading: the sublayer's.
        output_BTC: the sublayer's, of width D for all streams, or N D with a part for each.
    """
    which = kind(reading.streams_BTND)
    if which is None or output_BTC.dtype != output_dtype(which):
        return None
    return _Write.apply(*reading, output_BTC, which)
