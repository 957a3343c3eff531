from typing import Any

from net import Net
from references._norms import rms_norm
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    alpha = (2 * net.shape.n_layers) ** (1 / 4)
    h, inputs = embedding, []
    for index in range(net.shape.n_sublayers):
        inputs.append(h)
        joined = alpha * h + net.sublayer(index, h)
        if options.norm == "layernorm":
            mean = joined.mean(-1, keepdim=True)
            variance = ((joined - mean) ** 2).mean(-1, keepdim=True)
            h = p["gain"][index] * (joined - mean) / (variance + 1e-6).sqrt()
        else:
            h = p["gain"][index] * rms_norm(joined)
    return inputs, h
