from typing import Any

import torch
from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    h, inputs = embedding, []
    for index in range(net.shape.n_sublayers):
        inputs.append(h)
        f, skip = net.sublayer(index, h), h
        if options.form in ("lr", "rw+lr"):
            inner = torch.einsum("btd,dr->btr", h, p["down"][index])
            skip = h + torch.einsum("btr,rd->btd", inner, p["up"][index])
        if options.form == "lr":
            h = f + skip
            continue
        w_a, w_b = p["weights"][index]
        if options.bounding == "softmax":
            a = 2 * w_a.exp() / (w_a.exp() + w_b.exp())
            b = 2 * w_b.exp() / (w_a.exp() + w_b.exp())
        else:
            a, b = 2 / (1 + (-w_a).exp()), 2 / (1 + (-w_b).exp())
        h = torch.einsum("i,ibtd->btd", torch.stack([a, b]), torch.stack([f, skip]))
    return inputs, h
