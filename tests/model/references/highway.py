from typing import Any

import torch
from net import Net
from references._norms import rms_norm
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    h, inputs = embedding, []
    for index in range(net.shape.n_sublayers):
        inputs.append(h)
        projected = torch.einsum("gd,btd->btg", p["weight"][index], rms_norm(h))
        gate = 1 / (1 + torch.exp(-(projected + p["bias"][index])))
        h = (1 - gate) * h + gate * net.sublayer(index, h)
    return inputs, h
