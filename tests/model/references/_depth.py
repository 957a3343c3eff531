"""Attention over depth straight from arXiv:2603.15031, equations 1-4 and section 3.2: slow."""

from types import SimpleNamespace
from typing import Any

import torch
from net import Net
from references._norms import rms_norm
from torch import Tensor

PLAIN = SimpleNamespace(
    query="learned", mixing="softmax", key_norm=True, window=None, heads=1, logit_scale=1.0
)
"""The paper's method."""


class Mixer:
    """Mixes the sources of one reader after another; a single source is taken as it is."""

    def __init__(self, p: dict[str, Tensor], options: Any) -> None:
        self.p, self.options = p, options
        self.readers = 0
        """How many readers of several sources there were: the row of the next one."""
        self.pairs = 0
        """How many sources those had together: the place of the next static weight."""

    def __call__(self, sources: list[Tensor]) -> Tensor:
        o = self.options
        if o.window is not None and len(sources) > 1 + o.window:
            sources = sources[:1] + sources[-o.window :]
        if len(sources) == 1:
            return sources[0]
        query = self.query(sources[-1])
        width = sources[0].shape[-1] // o.heads
        groups = []
        for head in range(o.heads):
            channels = slice(head * width, (head + 1) * width)
            weights = self.weights(query, sources, channels)
            values = torch.stack([source[..., channels] for source in sources])
            groups.append(torch.einsum("sbt,sbtd->btd", weights, values))
        self.readers += 1
        self.pairs += len(sources)
        return torch.cat(groups, -1)

    def weights(self, query: Any, sources: list[Tensor], channels: slice) -> Tensor:
        """Of each source for one group of channels, (S, B, T)."""
        logits = [self.logit(query, i, source, channels) for i, source in enumerate(sources)]
        if self.options.mixing == "static_linear":
            return torch.stack(logits)
        if self.options.mixing == "sigmoid":
            return torch.stack([1 / (1 + torch.exp(-logit)) for logit in logits])
        exponentials = [torch.exp(logit) for logit in logits]
        return torch.stack([value / sum(exponentials) for value in exponentials])

    def query(self, latest: Tensor) -> Tensor | None:
        """The next reader's query: (D,), or (B, T, D) of the latest source."""
        if self.options.mixing in ("static", "static_linear"):
            return None
        if self.options.query == "learned":
            return self.p["query"][self.readers]
        return torch.einsum("de,bte->btd", self.p["projection"][self.readers], latest)

    def logit(self, query: Any, index: int, source: Tensor, channels: slice) -> Tensor:
        """Score of one source for one group of channels, (B, T)."""
        if query is None:
            return self.p["static"][self.pairs + index].expand(source.shape[:2])
        key = source
        if self.options.key_norm:
            key = rms_norm(source) * self.p["gain"][self.readers]
        letters = "d,btd->bt" if query.ndim == 1 else "btd,btd->bt"
        score = torch.einsum(letters, query[..., channels], key[..., channels])
        return self.options.logit_scale * score


def in_blocks(
    net: Net, embedding: Tensor, mix: Mixer, ends: list[int], settle: Any
) -> tuple[list[Tensor], Tensor]:
    """Block AttnRes.

    Args:
        net: the network.
        embedding: (B, T, D).
        mix: the readers.
        ends: the sublayer after the last of each block.
        settle: what is made of an output before it enters a finished block's sum.
    """
    finished, outputs, inputs = [embedding], [], []
    for index in range(net.shape.n_sublayers):
        inputs.append(mix([*finished, sum(outputs)] if outputs else finished))
        outputs.append(net.sublayer(index, inputs[-1]))
        if index + 1 in ends:
            finished = [*finished, sum(settle(output) for output in outputs)]
            outputs = []
    return inputs, mix(finished)


def block_ends(n_sublayers: int, num_blocks: int | None, block_size: int | None) -> list[int]:
    """By size, the last block may be shorter; by number, it takes what is left over."""
    if block_size is not None:
        return [*range(block_size, n_sublayers, block_size), n_sublayers]
    count = num_blocks if num_blocks is not None else min(8, n_sublayers)
    return [(n_sublayers // count) * block for block in range(1, count)] + [n_sublayers]
