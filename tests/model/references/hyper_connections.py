from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    n = options.streams
    batch, length = embedding.shape[:2]
    streams, inputs = torch.stack([embedding] * n, dim=2), []
    for index in range(net.shape.n_sublayers):
        read = p["read_weight"][index][:, 0].expand(batch, length, n)
        mixing = p["mixing"][index].expand(batch, length, n, n)
        write = p["write_weight"][index].expand(batch, length, n)
        if options.dynamic:
            centred = streams - streams.mean(-1, keepdim=True)
            normed = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-6)
            squash = torch.tanh if options.tanh else lambda x: x
            alpha, beta = p["alpha_scale"][index], p["beta_scale"][index]
            read = read + alpha * squash(normed @ p["dynamic_read"][index].T)[..., 0]
            mixing = mixing + alpha * squash(normed @ p["dynamic_mixing"][index].T)
            write = write + beta * squash(normed @ p["dynamic_write"][index].T)[..., 0]
        u = torch.einsum("bts,btsd->btd", read, streams)
        inputs.append(u)
        sources = torch.cat([streams, net.sublayer(index, u)[:, :, None]], dim=2)
        new = []
        for target in range(n):
            weights = torch.cat([mixing[..., target], write[..., target : target + 1]], dim=-1)
            new.append(torch.einsum("bts,btsd->btd", weights, sources))
        streams = torch.stack(new, dim=2)
    return inputs, sum(streams[:, :, i] for i in range(n))
