"""Differentiable functions around the kernels. Each gives None where plain torch must do it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnres_eval.model.kernels.call import call, output_dtype
from attnres_eval.model.kernels.switch import FP32, kind

LONGEST_CONTEXT = 2048
"""Beyond it a block of queries and all its keys leave the cache, and torch's attention is used."""


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, weight: Tensor, kind: int) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        sizes = (x.numel() // x.shape[-1], x.shape[-1], weight.shape[0])
        y = x.new_empty((*x.shape[:-1], sizes[-1]), dtype=output_dtype(kind))
        call("linear_forward", kind, sizes, x, gain, weight, y)
        ctx.save_for_backward(x, gain, weight)
        ctx.kind, ctx.sizes = kind, sizes
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, weight = ctx.saved_tensors
        dx, d_weight = torch.empty_like(x), torch.empty_like(weight)
        d_gain = None if gain is None else torch.empty_like(gain)
        tensors = (x, gain, weight, dy.contiguous(), dx, d_gain, d_weight)
        call("linear_backward", ctx.kind, ctx.sizes, *tensors)
        return dx, d_gain, d_weight, None


class _MLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor | None,
        gate_up: Tensor,
        down: Tensor,
        kind: int,
        graph: bool,
    ) -> Tensor:
        x, gate_up, down = x.contiguous(), gate_up.contiguous(), down.contiguous()
        sizes = (x.numel() // x.shape[-1], x.shape[-1], down.shape[1])
        y = torch.empty_like(x, dtype=output_dtype(kind))
        inner = None
        # Weights need a gradient where no graph is kept, too.
        if graph and any(ctx.needs_input_grad):
            inner = y.new_empty((sizes[0], 2 * sizes[2]))
        call("mlp_forward", kind, sizes, x, gain, gate_up, down, y, inner)
        ctx.save_for_backward(x, gain, gate_up, down, inner)
        ctx.kind, ctx.sizes = kind, sizes
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, gate_up, down, inner = ctx.saved_tensors
        dx, d_gate_up, d_down = map(torch.empty_like, (x, gate_up, down))
        d_gain = None if gain is None else torch.empty_like(gain)
        tensors = (x, gain, gate_up, down, inner, dy.contiguous(), dx, d_gain, d_gate_up, d_down)
        call("mlp_backward", ctx.kind, ctx.sizes, *tensors)
        return dx, d_gain, d_gate_up, d_down, None, None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, heads: tuple[int, int, int], kind: int
    ) -> Tensor:
        qkv, cos, sin = qkv.contiguous(), cos.contiguous(), sin.contiguous()
        sizes = (*qkv.shape[:2], *heads)
        out = qkv.new_empty((*qkv.shape[:2], heads[0] * heads[2]))
        lse = None
        if any(ctx.needs_input_grad):
            lse = qkv.new_empty((qkv.shape[0], heads[0], qkv.shape[1]), dtype=torch.float32)
        call("attention_forward", kind, sizes, qkv, cos, sin, out, lse)
        ctx.save_for_backward(qkv, cos, sin, lse)
        ctx.kind, ctx.sizes = kind, sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        qkv, cos, sin, lse = ctx.saved_tensors
        d_qkv = torch.empty_like(qkv)
        tensors = (qkv, cos, sin, lse, d_out.contiguous(), d_qkv)
        call("attention_backward", ctx.kind, ctx.sizes, *tensors)
        return d_qkv, None, None, None, None


class _Loss(torch.autograd.Function):
    """The weighted loss; its gradients are made with it, and kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor | None,
        weight: Tensor,
        targets: Tensor,
        weights: Tensor,
        kind: int,
    ) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        loss = torch.empty((), dtype=torch.float64)
        gradients: list[Tensor | None] = [None, None, None]
        if any(ctx.needs_input_grad):
            gradients = [None if t is None else torch.empty_like(t) for t in (x, gain, weight)]
        sizes = (targets.numel(), x.shape[-1], weight.shape[0])
        tensors = (x, gain, weight, targets.contiguous(), weights.contiguous(), loss)
        call("loss_forward", kind, sizes, *tensors, *gradients)
        ctx.save_for_backward(*gradients)
        return loss.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        if d_loss != 1:
            gradients = [None if t is None else t * d_loss.to(t.dtype) for t in gradients]
        return (*gradients, None, None, None)


def linear(x: Tensor, gain: Tensor | None, weight_OI: Tensor) -> Tensor | None:
    """norm(x) W^T over the last dimension; without a gain there is no norm."""
    which = kind(x, gain, weight_OI)
    return None if which is None else _Linear.apply(x, gain, weight_OI, which)


def mlp(
    x: Tensor, gain: Tensor | None, gate_up_weight: Tensor, down_weight: Tensor
) -> Tensor | None:
    """SwiGLU of norm(x): gate and up rows in one weight, (2 F, D), then down, (D, F)."""
    which = kind(x, gain, gate_up_weight, down_weight)
    if which is None:
        return None
    return _MLP.apply(x, gain, gate_up_weight, down_weight, which, torch.is_grad_enabled())


def attention(
    qkv_BTC: Tensor, rotary: tuple[Tensor, Tensor], heads: tuple[int, int, int]
) -> Tensor | None:
    """Causal attention of a whole sequence, the rotary embedding included: (B, T, H K).

    Args:
        qkv_BTC: queries, keys and values of all heads side by side, (B, T, (H + 2 G) K).
        rotary: cosines and signed sines, one row for each of T positions.
        heads: numbers of query heads H and of key heads G, and their width K.
    """
    cos, sin = rotary
    which = kind(qkv_BTC)
    one_table = cos.shape[0] == 1 and cos.dtype == torch.float32 and heads[2] % 2 == 0
    if which is None or not one_table or qkv_BTC.shape[1] > LONGEST_CONTEXT:
        return None
    if which != FP32 and qkv_BTC.dtype != torch.bfloat16:
        return None
    return _Attention.apply(qkv_BTC, cos, sin, heads, which)


def loss(
    x: Tensor, gain: Tensor | None, weight_VD: Tensor, targets: Tensor, weights: Tensor
) -> Tensor | None:
    """Sum over tokens of weight times next-token loss in nats, the logits being norm(x) W^T.

    Args:
        x: what the norm before the head reads, (..., D).
        gain: of that norm; None where there is none.
        weight_VD: the head's.
        targets: token ids, (...).
        weights: of the tokens' losses, fp32, (...).
    """
    which = kind(x, gain, weight_VD, weights)
    return None if which is None else _Loss.apply(x, gain, weight_VD, targets, weights, which)
