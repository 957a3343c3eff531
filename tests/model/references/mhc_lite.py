from itertools import permutations
from typing import Any

import torch
from net import Net
from references._doubly_stochastic import run
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    n = options.streams
    matrices = []
    for order in permutations(range(n)):
        matrix = torch.zeros(n, n)
        for row, column in enumerate(order):
            matrix[row, column] = 1
        matrices.append(matrix)
    stacked = torch.stack(matrices)

    def mixing_of(logits: Tensor) -> Tensor:
        weights = torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)
        return torch.einsum("btk,kij->btij", weights, stacked)

    inputs, streams = run(net, embedding, p, n, mixing_of)
    return inputs, streams.sum(2)
