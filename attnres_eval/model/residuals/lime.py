"""Keys and values mixed over layers and heads."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnres_eval.model.draw import uniform
from attnres_eval.model.kernels.switch import kind
from attnres_eval.model.residuals.base import Residual
from attnres_eval.model.residuals.dense import Source, source, values_of, weighted_sums
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options


class LIMeState(NamedTuple):
    """History of LIMe."""

    stream_BTD: Tensor
    memory_BGTX: tuple[Tensor, ...]
    """Every layer's own keys and values so far, joined: X is 2 head_dim."""
    heads: tuple[Source, ...] = ()
    """In their place where the compiled kernels sum them: head after head, (B, T, X), fp32."""


class LIMe(Residual):
    """[K, V]'_{l,g} = sum_{j<=l} sum_r w_{l,g,(j,r)} [K, V]_{j,r} (arXiv:2502.09245).

    `weights` holds the weights of layers 1, 2, ... one after the other, layer l's as (G, l + 1, G).
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__(shape, options)
        heads = shape.n_kv_heads
        self.shapes = [(heads, layer + 1, heads) for layer in range(1, shape.n_layers)]
        self.weights = nn.Parameter(torch.empty(sum(map(math.prod, self.shapes))))

    def layer_weights(self) -> list[Tensor]:
        """Views of `weights`, one a layer from layer 1 on: (G, l + 1, G)."""
        parts = self.weights.split([math.prod(shape) for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def initialise(self, seed: int) -> None:
        """Uniform with variance 1 / fan_in on earlier layers, the identity on the own one."""
        for layer, weights in enumerate(self.layer_weights(), 1):
            heads, layers, _ = weights.shape
            uniform(weights, math.sqrt(3 / (layers * heads)), seed, f"residual.weights.{layer}")
            nn.init.eye_(weights[:, -1])

    def start(self, embedding_BTD: Tensor) -> LIMeState:
        return LIMeState(embedding_BTD, ())

    def read(self, state: LIMeState, sublayer: int) -> tuple[LIMeState, Tensor]:
        return state, state.stream_BTD

    def attend(
        self, state: LIMeState, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[LIMeState, Tensor, Tensor, Tensor]:
        own_BGTX = torch.cat([k_BGTK, v_BGTK], dim=-1)
        if state.heads or (layer == 0 and kind(own_BGTX) is not None):
            heads = *state.heads, *self._heads(own_BGTX)
            state = state._replace(heads=heads)
            if layer == 0:
                return state, q_BHTK, k_BGTK, v_BGTK
            weights_GS = self.layer_weights()[layer - 1].flatten(1).float()
            mixed_BGTX = torch.stack(weighted_sums(weights_GS, heads), dim=1).to(own_BGTX.dtype)
            k_BGTK, v_BGTK = mixed_BGTX.chunk(2, dim=-1)
            return state, q_BHTK, k_BGTK, v_BGTK
        state = state._replace(memory_BGTX=(*state.memory_BGTX, own_BGTX))
        if layer == 0:
            return state, q_BHTK, k_BGTK, v_BGTK
        # Layer by layer, so that no joined copy of the memory is kept for the backward pass.
        weights_GLG = self.layer_weights()[layer - 1].to(own_BGTX.dtype)
        parts = [
            torch.einsum("gr,brtx->bgtx", weights_GG, memory_BGTX).float()
            for weights_GG, memory_BGTX in zip(
                weights_GLG.unbind(1), state.memory_BGTX, strict=True
            )
        ]
        mixed_BGTX = sum(parts[1:], start=parts[0]).to(own_BGTX.dtype)
        k_BGTK, v_BGTK = mixed_BGTX.chunk(2, dim=-1)
        return state, q_BHTK, k_BGTK, v_BGTK

    def _heads(self, own_BGTX: Tensor) -> list[Source]:
        """A layer's keys and values as sources, one a head."""
        heads_GBTX = own_BGTX.float().transpose(0, 1).contiguous()
        return [source(head_BTX, self.frozen) for head_BTX in heads_GBTX]

    def write(self, state: LIMeState, sublayer: int, output_BTD: Tensor) -> LIMeState:
        return state._replace(stream_BTD=state.stream_BTD + output_BTD)

    def pack(self, state: LIMeState) -> tuple[Tensor, ...]:
        return state.stream_BTD, *state.memory_BGTX, *map(values_of, state.heads)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> LIMeState:
        stream_BTD, *memory = tensors
        if memory[0].ndim == 4:
            return LIMeState(stream_BTD, tuple(memory))
        return LIMeState(stream_BTD, (), tuple(source(head, self.frozen) for head in memory))

    def finish(self, state: LIMeState) -> Tensor:
        return state.stream_BTD
