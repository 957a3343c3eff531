from typing import Any

from net import Net
from references._depth import PLAIN, Mixer, block_ends, in_blocks
from references._norms import rms_norm
from torch import Tensor


def reference(
    net: Net, embedding: Tensor, p: dict[str, Tensor], options: Any
) -> tuple[list[Tensor], Tensor]:
    ends = block_ends(net.shape.n_sublayers, options.num_blocks, options.block_size)
    return in_blocks(net, embedding, Mixer(p, PLAIN), ends, rms_norm)
