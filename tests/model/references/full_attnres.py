from typing import Any

from net import Net
from references._depth import Mixer
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    mix, sources, inputs = Mixer(p, options), [embedding], []
    for index in range(net.shape.n_sublayers):
        inputs.append(mix(sources))
        sources = [*sources, net.sublayer(index, inputs[-1])]
    return inputs, mix(sources)
