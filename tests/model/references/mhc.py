from typing import Any

import torch
from net import Net
from references._doubly_stochastic import normed, run
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    n = options.streams

    def mixing_of(logits: Tensor) -> Tensor:
        matrix = torch.exp(torch.stack(logits.split(n, dim=-1), dim=-2))
        for _ in range(options.sinkhorn_iterations):
            matrix = matrix / sum(matrix[..., i : i + 1, :] for i in range(n))
            matrix = matrix / sum(matrix[..., :, j : j + 1] for j in range(n))
        return matrix

    inputs, streams = run(net, embedding, p, n, mixing_of)
    if options.read_out == "sum":
        return inputs, streams.sum(2)
    weights = torch.sigmoid(p["a_head"] * (normed(streams) @ p["phi_head"].T) + p["b_head"])
    return inputs, torch.einsum("bts,btsd->btd", weights, streams)
