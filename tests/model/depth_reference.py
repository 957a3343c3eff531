"""Attention Residuals straight from equations 1-4 and section 3.2 of arXiv:2603.15031: slow."""

from collections.abc import Callable

import torch
from torch import Tensor

Sublayer = Callable[[Tensor], Tensor]


def attend(query: Tensor, gain: Tensor, sources: list[Tensor]) -> Tensor:
    """One token at a time: softmax_i(w . RMSNorm(v_i)) over sources (D,), mixed raw."""
    logits = []
    for source in sources:
        rms = (source.pow(2).sum() / source.numel() + 1e-6).sqrt()
        logits.append((query * (gain * source / rms)).sum())
    exponentials = [torch.exp(logit - max(logits)) for logit in logits]
    weights = [value / sum(exponentials) for value in exponentials]
    return sum(weight * source for weight, source in zip(weights, sources, strict=True))


def full(
    embedding: Tensor, sublayers: list[Sublayer], queries: dict[int, tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], Tensor]:
    """Inputs of all sublayers and the output, for one token (D,)."""
    sources, inputs = [embedding], []
    for index, sublayer in enumerate(sublayers):
        h = embedding if index == 0 else attend(*queries[index], sources)
        inputs.append(h)
        sources.append(sublayer(h))
    return inputs, attend(*queries[len(sublayers)], sources)


def block(
    embedding: Tensor,
    sublayers: list[Sublayer],
    queries: dict[int, tuple[Tensor, Tensor]],
    sizes: list[int],
) -> tuple[list[Tensor], Tensor]:
    """As `full`, with sublayers summed in consecutive blocks of the given sizes."""
    finished, inputs, index = [embedding], [], 0
    for size in sizes:
        outputs: list[Tensor] = []
        for _ in range(size):
            sources = [*finished, sum(outputs)] if outputs else finished
            h = sources[0] if len(sources) == 1 else attend(*queries[index], sources)
            inputs.append(h)
            outputs.append(sublayers[index](h))
            index += 1
        finished = [*finished, sum(outputs)]
    return inputs, attend(*queries[index], finished)
