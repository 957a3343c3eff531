from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    heads = net.shape.n_kv_heads
    h, inputs, used = embedding, [], 0
    all_keys, all_values = [], []  # one a head, the first layer's first
    for index in range(net.shape.n_sublayers):
        inputs.append(h)
        if index % 2:
            h = h + net.mlp(index, h)
            continue
        q, k, v = net.project(index, h, h, h)
        all_keys += [k[:, head] for head in range(heads)]
        all_values += [v[:, head] for head in range(heads)]
        if index:
            mixed_keys, mixed_values = [], []
            for _ in range(heads):
                row = p["weights"][used : used + len(all_keys)]
                used += len(row)
                mixed_keys.append(torch.einsum("s,sbtk->btk", row, torch.stack(all_keys)))
                mixed_values.append(torch.einsum("s,sbtk->btk", row, torch.stack(all_values)))
            k, v = torch.stack(mixed_keys, 1), torch.stack(mixed_values, 1)
        h = h + net.combine(index, q, k, v)
    assert used == len(p["weights"])
    return inputs, h
