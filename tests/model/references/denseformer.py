from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    weights = iter(p["weights"])
    x, y, inputs = [embedding], embedding, []
    for i in range(1, net.shape.n_layers + 1):
        inputs.append(y)
        h = y + net.sublayer(2 * i - 2, y)
        inputs.append(h)
        x.append(h + net.sublayer(2 * i - 1, h))
        y = x[i]
        if i % options.period == 0:
            chosen = [j for j in range(i + 1) if (i - j) % options.dilation == 0]
            a = torch.stack([next(weights) for _ in chosen])
            if len(chosen) == 1:
                y = a[0] * x[i]
            else:
                y = torch.einsum("j,jbtd->btd", a, torch.stack([x[j] for j in chosen]))
    assert not list(weights)
    return inputs, y
