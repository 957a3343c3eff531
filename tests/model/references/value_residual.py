from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    h, inputs, values = embedding, [], []
    for index in range(net.shape.n_sublayers):
        inputs.append(h)
        if index % 2:
            h = h + net.mlp(index, h)
            continue
        q, k, v = net.project(index, h, h, h)
        values.append(v)
        if index:
            mix = torch.tensor([0.5, 0.5])
            if options.weights == "learned":
                mix = p["weights"][index // 2 - 1]
            v = torch.einsum("i,ibgtk->bgtk", mix, torch.stack([values[0], values[-1]]))
        h = h + net.combine(index, q, k, v)
    return inputs, h
