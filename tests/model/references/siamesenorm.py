from typing import Any

from net import Net
from references._norms import rms_norm
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    x = y = embedding
    inputs = []
    for block in range(1, net.shape.n_layers + 1):
        divisor = (2 * block) ** 0.5 if options.branch_scale else 1
        for index in (2 * block - 2, 2 * block - 1):
            main = p["x_gain"][index] * rms_norm(x)
            side = p["y_gain"][index] * rms_norm(y)
            inputs.append(main + side)
            z = net.sublayer(index, main + side)
            x, y = main + z / divisor, y + z
    return inputs, p["x_gain"][-1] * rms_norm(x) + p["y_gain"][-1] * rms_norm(y)
