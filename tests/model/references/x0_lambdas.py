from typing import Any

import torch
from net import Net
from references._norms import rms_norm
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    x, x0, inputs = embedding, rms_norm(embedding), []
    for block in range(net.shape.n_layers):
        weights = torch.stack([p["resid_lambdas"][block], p["x0_lambdas"][block]])
        x = torch.einsum("s,sbtd->btd", weights, torch.stack([x, x0]))
        inputs.append(x)
        x = x + net.attention(2 * block, x)
        inputs.append(x)
        x = x + net.mlp(2 * block + 1, x)
    return inputs, x
