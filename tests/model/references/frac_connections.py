from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    m = options.fractions
    batch, length, width = embedding.shape
    h, inputs = embedding, []
    for index in range(net.shape.n_sublayers):
        fractions = torch.stack(h.chunk(m, dim=-1), dim=2)
        y = p["read_weight"][index].expand(batch, length, m, m)
        a = p["mixing"][index].expand(batch, length, m, m)
        b = p["write_weight"][index].expand(batch, length, m)
        if options.dynamic:
            rms = torch.sqrt((fractions**2).mean(-1, keepdim=True) + 1e-6)
            normed = fractions / rms * p["gain"][index]
            alpha, beta = p["alpha_scale"][index], p["beta_scale"][index]
            y = y + alpha * torch.tanh(normed @ p["dynamic_read"][index].T)
            a = a + alpha * torch.tanh(normed @ p["dynamic_mixing"][index].T)
            b = b + beta * torch.tanh(normed @ p["dynamic_write"][index].T)[..., 0]
        u = torch.cat(
            [torch.einsum("bts,btsd->btd", y[..., j], fractions) for j in range(m)], dim=-1
        )
        inputs.append(u)
        outputs = net.sublayer(index, u).chunk(m, dim=-1)
        kept = [torch.einsum("bts,btsd->btd", a[..., j], fractions) for j in range(m)]
        h = torch.cat([kept[j] + b[..., j, None] * outputs[j] for j in range(m)], dim=-1)
        assert h.shape[-1] == width
    return inputs, h
