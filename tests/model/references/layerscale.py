from typing import Any

from net import Net
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    h, inputs = embedding, []
    for index in range(net.shape.n_sublayers):
        inputs.append(h)
        h = h + p["scale"][index] * net.sublayer(index, h)
    return inputs, h
