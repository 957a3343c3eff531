import math
from typing import Any

import torch
from net import Net
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    last = net.shape.n_layers - 1
    x, inputs = [embedding], []
    streams = dict.fromkeys("qkvr", embedding)
    for i in range(net.shape.n_layers):
        q, k, v = streams["q"], streams["k"], streams["v"]
        inputs.append(torch.stack([q, k, v]) if i else embedding)
        h = streams["r"] + net.combine(2 * i, *net.project(2 * i, q, k, v))
        inputs.append(h)
        x.append(h + net.mlp(2 * i + 1, h))
        rms = (x[-1].pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        hidden = gelu(torch.einsum("btd,kd->btk", x[-1] / rms, p[f"up.{i}"]))
        dw = torch.einsum("btk,wk->btw", hidden, p[f"down.{i}"])
        for way, name in enumerate("qkvr" if i < last else "r"):
            weights = dw[..., way * len(x) : (way + 1) * len(x)] + p[f"prior.{i}"][way]
            streams[name] = torch.einsum("bts,sbtd->btd", weights, torch.stack(x))
    return inputs, streams["r"]
