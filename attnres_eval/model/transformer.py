"""One decoder for every residual: each sublayer joins the history through the residual's verbs.

Legend of shape suffixes: B batch, T tokens, D d_model, H query heads, G key and value heads,
K head_dim, F d_ff, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.kernels import ops
from attnres_eval.model.kernels.decode import decode_step
from attnres_eval.model.kernels.switch import kind
from attnres_eval.model.residuals import build_residual
from attnres_eval.model.residuals.base import NORM_EPSILON, QKV, Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options

ROPE_BASE = 10_000.0


class KeyValueCache(Protocol):
    """What a cache of earlier tokens' keys and values must do; transformers' caches do."""

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Appends this step's keys and values (B, G, T, K); returns all up to now."""


class RMSNorm(nn.Module):
    """x / rms(x) * gain over the last dimension, in fp32 (arXiv:1910.07467)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), NORM_EPSILON)


def normed_linear(x: Tensor, norm: nn.Module, weight_OI: Tensor) -> Tensor:
    """The linear map of norm(x), or of x where the norm is an identity."""
    gain = norm.weight if isinstance(norm, RMSNorm) else None
    y = ops.linear(x, gain, weight_OI)
    return F.linear(norm(x), weight_OI) if y is None else y


def rotary_table(positions_BT: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary embedding (arXiv:2104.09864), (B, 1, T, K), fp32.

    The first half of the sines is negative: it multiplies the second half of what is rotated.
    """
    exponents = torch.arange(0, head_dim, 2, device=positions_BT.device) / head_dim
    angles = positions_BT[:, None, :, None].float() * ROPE_BASE**-exponents
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x_BHTK: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Applies the rotary embedding in the half-split layout of Llama."""
    cos, signed_sin = table
    swapped = x_BHTK.roll(x_BHTK.shape[-1] // 2, dims=-1)
    return torch.addcmul(x_BHTK * cos, swapped, signed_sin).to(x_BHTK.dtype)


class Attention(nn.Module):
    """Causal grouped-query attention: project, then attend, with the residual's say between.

    Args:
        shape: the decoder's sizes.
        normed: whether to normalise what is read.
        separate: whether queries, keys and values have inputs, and then norms, of their own.
    """

    def __init__(self, shape: ModelShape, normed: bool = True, separate: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.norm = RMSNorm(shape.d_model) if normed else nn.Identity()
        if separate:
            self.k_input_norm = RMSNorm(shape.d_model)
            self.v_input_norm = RMSNorm(shape.d_model)
        query, key = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        self.widths = (query, key, key)
        self.qkv = nn.Linear(shape.d_model, query + 2 * key, bias=False)
        self.out = nn.Linear(query, shape.d_model, bias=False)
        self.q_norm = RMSNorm(shape.head_dim) if shape.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(shape.head_dim) if shape.qk_norm else nn.Identity()

    def project(self, read: Tensor | QKV) -> Tensor:
        """Queries, keys and values of all heads side by side, (B, T, (H + 2 G) K)."""
        if not isinstance(read, QKV):
            return normed_linear(read, self.norm, self.qkv.weight)
        norms = self.norm, self.k_input_norm, self.v_input_norm
        weights = self.qkv.weight.split(self.widths)
        return torch.cat(
            [normed_linear(*one) for one in zip(read, norms, weights, strict=True)], dim=-1
        )

    def heads(self, qkv_BTC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, K), keys and values (B, G, T, K), normalised where the shape says."""
        shape = self.shape
        heads = qkv_BTC.unflatten(-1, (-1, shape.head_dim)).transpose(1, 2)
        q, k, v = heads.split([shape.n_heads, shape.n_kv_heads, shape.n_kv_heads], dim=1)
        return self.q_norm(q), self.k_norm(k), v

    def whole(self, qkv_BTC: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor | None:
        """The sublayer's output of whole sequences, straight from the projection of their tokens.

        None where no kernel does it, or queries and keys are normalised on the way.
        """
        if self.shape.qk_norm:
            return None
        return self._attended(qkv_BTC, rotary)

    def _attended(self, qkv_BTC: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor | None:
        shape = self.shape
        heads = shape.n_heads, shape.n_kv_heads, shape.head_dim
        mixed_BTD = ops.attention(qkv_BTC, rotary, heads)
        return None if mixed_BTD is None else self.write(mixed_BTD)

    def write(self, mixed_BTD: Tensor) -> Tensor:
        """The sublayer's output (B, T, D) out of its heads' side by side."""
        return normed_linear(mixed_BTD, nn.Identity(), self.out.weight)

    def attend(
        self,
        q_BHTK: Tensor,
        k_BGTK: Tensor,
        v_BGTK: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        layer: int,
        cache: KeyValueCache | None,
    ) -> Tensor:
        """The sublayer's output (B, T, D). Without a mask, all earlier keys and causal ones."""
        if mask is None and cache is None and kind(q_BHTK) is not None:
            side_by_side = torch.cat([q_BHTK, k_BGTK, v_BGTK], dim=1).transpose(1, 2).flatten(2)
            if (output := self._attended(side_by_side, rotary)) is not None:
                return output
        q_BHTK, k_BGTK = rotate(q_BHTK, rotary), rotate(k_BGTK, rotary)
        if cache is not None:
            k_BGTK, v_BGTK = cache.update(k_BGTK, v_BGTK, layer)
        earlier = k_BGTK.shape[2] - q_BHTK.shape[2]
        if mask is None and earlier and q_BHTK.shape[2] > 1:
            mask = torch.ones(q_BHTK.shape[2], k_BGTK.shape[2], device=q_BHTK.device).tril(earlier)
            mask = mask.bool()
        mixed_BHTK = F.scaled_dot_product_attention(
            q_BHTK,
            k_BGTK,
            v_BGTK,
            attn_mask=mask,
            is_causal=mask is None and not earlier,
            enable_gqa=self.shape.n_heads != self.shape.n_kv_heads,
        )
        return self.write(mixed_BHTK.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU (arXiv:2002.05202)."""

    def __init__(self, shape: ModelShape, normed: bool = True) -> None:
        super().__init__()
        self.norm = RMSNorm(shape.d_model) if normed else nn.Identity()
        self.gate_up = nn.Linear(shape.d_model, 2 * shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, h_BTD: Tensor) -> Tensor:
        gain = self.norm.weight if isinstance(self.norm, RMSNorm) else None
        output_BTD = ops.mlp(h_BTD, gain, self.gate_up.weight, self.down.weight)
        if output_BTD is not None:
            return output_BTD
        gate_BTF, up_BTF = self.gate_up(self.norm(h_BTD)).chunk(2, dim=-1)
        return self.down(F.silu(gate_BTF) * up_BTF)


def attention_sublayer(
    attention: Attention,
    residual: Residual,
    state: Any,
    layer: int,
    sublayer: int,
    rotary: tuple[Tensor, Tensor],
    mask: Tensor | None,
    cache: KeyValueCache | None,
) -> Any:
    """The history after an attention sublayer; arguments as of `Transformer.trunk`.

    Both numbers are given, not one made of the other: so a compiler sees that neither matters to
    most residuals, and that one graph does for all layers.
    """
    state, read = residual.read(state, sublayer)
    output = None
    qkv = attention.project(read)
    if type(residual).attend is Residual.attend and mask is None and cache is None:
        output = attention.whole(qkv, rotary)
    if output is None:
        state, q, k, v = residual.attend(state, layer, *attention.heads(qkv))
        output = attention.attend(q, k, v, rotary, mask, layer, cache)
    return residual.write(state, sublayer, output)


def mlp_sublayer(mlp: MLP, residual: Residual, state: Any, sublayer: int) -> Any:
    """The history after an MLP sublayer."""
    state, read = residual.read(state, sublayer)
    return residual.write(state, sublayer, mlp(read))


class Layer(nn.Module):
    """One transformer block: an attention sublayer and an MLP sublayer."""

    attend: Callable[..., Any]
    """`attention_sublayer`, or what a compiler made of it."""
    feed: Callable[..., Any]
    """`mlp_sublayer`, or what a compiler made of it."""

    def __init__(self, shape: ModelShape, normed: bool = True, separate: bool = False) -> None:
        super().__init__()
        self.attention = Attention(shape, normed, separate)
        self.mlp = MLP(shape, normed)
        self.attend, self.feed = attention_sublayer, mlp_sublayer

    def forward(
        self,
        residual: Residual,
        state: Any,
        index: int,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Any:
        """The history after this layer, which is layer `index` of the decoder."""
        first, second = 2 * index, 2 * index + 1
        state = self.attend(self.attention, residual, state, index, first, rotary, mask, cache)
        return self.feed(self.mlp, residual, state, second)


class Transformer(nn.Module):
    """Token ids in, hidden states or logits out.

    Args:
        shape: the decoder's sizes.
        variant: the residual's name.
        options: the residual's options.
    """

    def __init__(self, shape: ModelShape, variant: str, options: Options) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab_size, shape.d_model)
        residual = build_residual(variant, options, shape)
        self.layers = nn.ModuleList(
            Layer(shape, residual.sublayer_norms, residual.separate_inputs(index))
            for index in range(shape.n_layers)
        )
        self.residual = residual
        self.final_norm = RMSNorm(shape.d_model) if residual.final_norm else nn.Identity()
        self.head = nn.Linear(shape.d_model, shape.vocab_size, bias=False)
        if shape.tied_head:
            self.head.weight = self.embedding.weight
        self.activation_checkpointing = False

    def trunk(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Hidden states before the final norm, (B, T, D).

        Args:
            tokens_BT: token ids.
            positions_BT: rotary positions, 0 to T - 1 where absent.
            mask: additive or boolean, broadcast to (B, H, T, keys); causal where absent.
            cache: earlier tokens' keys and values.
        """
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
        rotary = rotary_table(positions_BT, self.shape.head_dim)
        embedded_BTD = self.embedding(tokens_BT)
        decoded_BTD = self._decoded(embedded_BTD, rotary, mask, cache)
        if decoded_BTD is not None:
            return decoded_BTD
        state = self.residual.start(embedded_BTD)
        state = self.through(state, range(len(self.layers)), rotary, mask, cache)
        return self.residual.finish(state)

    def through(
        self,
        state: Any,
        layers: range,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """The history after some layers, given the one before them; arguments as of `trunk`."""
        for index in layers:
            layer, arguments = (
                self.layers[index],
                (self.residual, state, index, rotary, mask, cache),
            )
            if self.activation_checkpointing and self.training:
                state = torch.utils.checkpoint.checkpoint(layer, *arguments, use_reentrant=False)
            else:
                state = layer(*arguments)
        return state

    def hidden(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, (B, T, D); arguments as of `trunk`."""
        return self.final_norm(self.trunk(tokens_BT, positions_BT, mask, cache))

    def _decoded(
        self,
        embedded_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor | None:
        """One more token of each row by a compiled step; None where it must go layer by layer."""
        if cache is None or embedded_BTD.shape[1] != 1 or torch.is_grad_enabled():
            return None
        residual = self.residual
        plan = residual.decode_plan() if "decode_plan" in vars(type(residual)) else None
        if plan is None:
            return None
        return decode_step(self.layers, self.shape, plan, embedded_BTD, rotary, mask, cache)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits, (B, T, V)."""
        return self.logits(self.trunk(tokens_BT))

    def logits(self, read_BTD: Tensor) -> Tensor:
        """Logits, (B, T, V), of what the final norm sees."""
        return normed_linear(read_BTD, self.final_norm, self.head.weight)

    def loss(self, tokens_BT: Tensor, shares_BT: Tensor | None = None) -> Tensor:
        """Next-token loss in nats: tokens 0 to T - 1 predict tokens 1 to T.

        Args:
            tokens_BT: token ids, (B, T + 1).
            shares_BT: what multiplies the losses of tokens 1 to T in the sum, (B, T); their mean
                where absent.
        """
        read_BTD, targets_BT = self.trunk(tokens_BT[:, :-1]), tokens_BT[:, 1:]
        return self.loss_of(read_BTD, targets_BT, shares_BT)

    def loss_of(
        self, read_BTD: Tensor, targets_BT: Tensor, shares_BT: Tensor | None = None
    ) -> Tensor:
        """The loss of `targets_BT`, given what the final norm sees; shares as of `loss`."""
        if shares_BT is None:
            shares_BT = torch.full(targets_BT.shape, 1 / targets_BT.numel(), device=read_BTD.device)
        gain = self.final_norm.weight if isinstance(self.final_norm, RMSNorm) else None
        loss = ops.loss(read_BTD, gain, self.head.weight, targets_BT, shares_BT)
        if loss is not None:
            return loss
        logits = self.head(self.final_norm(read_BTD)).flatten(0, 1).float()
        losses = F.cross_entropy(logits, targets_BT.flatten(), reduction="none")
        return torch.dot(losses, shares_BT.flatten())
