from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    n = options.streams
    streams, inputs = [embedding] * n, []

    def read(index: int) -> tuple[Tensor, Tensor]:
        normed = [
            h / torch.sqrt((h**2).mean(-1, keepdim=True) + 1e-6) * (1 + p["norm"][index, i])
            for i, h in enumerate(streams)
        ]
        flat = torch.cat(normed, dim=-1)
        bottleneck = flat @ p["down"][index].T / n
        bottleneck = bottleneck * torch.sigmoid(bottleneck)
        gates = torch.sigmoid(bottleneck @ p["up"][index].T).chunk(n, dim=-1)
        return flat, sum(gate * h for gate, h in zip(gates, normed, strict=True)) / n

    for index in range(net.shape.n_sublayers):
        flat, u = read(index)
        inputs.append(u)
        write = 2 * torch.sigmoid(flat @ p["write_weight"][index].T / n)
        output = net.sublayer(index, u)
        streams = [h + write[..., i : i + 1] * output for i, h in enumerate(streams)]
    return inputs, read(net.shape.n_sublayers)[1]
