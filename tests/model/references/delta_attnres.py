from typing import Any

from net import Net
from references._depth import PLAIN, Mixer, block_ends
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    last = net.shape.n_sublayers
    ends = list(range(1, last))
    if options.sources == "block":
        ends = block_ends(last, options.num_blocks or min(8, net.shape.n_layers), None)
    mix, sources, inputs = Mixer(p, PLAIN), [embedding], []
    h = start = embedding
    for index in range(last):
        u = h
        if index > 0:
            gate = p["gate"][index - 1] if options.gate == "zero" else 1
            u = h + gate * mix(sources)
        inputs.append(u)
        h = h + net.sublayer(index, u)
        if index + 1 in ends:
            sources, start = [*sources, h - start], h
    return inputs, h
