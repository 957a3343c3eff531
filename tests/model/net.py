"""A toy network around a residual: element-wise sublayers, so that all contractions are its own.

`Net` offers the sublayers to our residual (`drive`) and to the slow references alike.
"""

from typing import Any

import torch
from torch import Tensor

from attnres_eval.model.residuals.base import QKV, Residual
from attnres_eval.shape import ModelShape


class Net:
    """Sublayers without matrix products; each depends on every channel through its neighbour."""

    def __init__(self, shape: ModelShape) -> None:
        self.shape = shape
        generator = torch.Generator().manual_seed(2)
        self.weights = torch.randn(shape.n_sublayers, 6, shape.d_model, generator=generator)

    def _mix(self, h_BTD: Tensor, sublayer: int, row: int) -> Tensor:
        own, neighbour = self.weights[sublayer, row], self.weights[sublayer, row + 1]
        return torch.tanh(own * h_BTD + neighbour * h_BTD.roll(1, -1))

    def mlp(self, sublayer: int, h_BTD: Tensor) -> Tensor:
        """An MLP sublayer: (B, T, D) to (B, T, D)."""
        return self._mix(h_BTD, sublayer, 0)

    def project(
        self, sublayer: int, q_BTD: Tensor, k_BTD: Tensor, v_BTD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, K), keys and values (B, G, T, K) of an attention sublayer."""
        shape = self.shape
        kept = shape.n_kv_heads * shape.head_dim

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (-1, shape.head_dim)).transpose(1, 2)

        return (
            heads(self._mix(q_BTD, sublayer, 0)),
            heads(self._mix(k_BTD, sublayer, 2)[..., :kept]),
            heads(self._mix(v_BTD, sublayer, 4)[..., :kept]),
        )

    def combine(self, sublayer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The attention sublayer's output (B, T, D); each token sees itself alone."""
        repeats = self.shape.n_heads // self.shape.n_kv_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        return (torch.tanh(q * k) + v).transpose(1, 2).flatten(2)

    def attention(self, sublayer: int, h_BTD: Tensor) -> Tensor:
        """An attention sublayer of one input whose q, k and v nothing touches."""
        return self.combine(sublayer, *self.project(sublayer, h_BTD, h_BTD, h_BTD))

    def sublayer(self, index: int, h_BTD: Tensor) -> Tensor:
        """Sublayer `index` of the network: attention where even, MLP where odd."""
        return self.mlp(index, h_BTD) if index % 2 else self.attention(index, h_BTD)


def drive(residual: Residual, net: Net, embedding_BTD: Tensor) -> tuple[list[Any], Tensor]:
    """Runs the network through a residual; returns all sublayers' inputs and the output.

    An input is (B, T, D), or a (3, B, T, D) stack where queries, keys and values read apart.
    """
    state, inputs = residual.start(embedding_BTD), []
    for index in range(residual.shape.n_sublayers):
        state, read = residual.read(state, index)
        if index % 2:
            assert isinstance(read, Tensor)
            output = net.mlp(index, read)
        else:
            q, k, v = read if isinstance(read, QKV) else (read, read, read)
            q, k, v = net.project(index, q, k, v)
            state, q, k, v = residual.attend(state, index // 2, q, k, v)
            output = net.combine(index, q, k, v)
        inputs.append(torch.stack(read) if isinstance(read, QKV) else read)
        state = residual.write(state, index, output)
    return inputs, residual.finish(state)
