"""A residual that tells what passes through it, and can silence one sublayer."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.base import QKV, Residual
from attnres_eval.model.transformer import Transformer

Read = Tensor | QKV


class Trace:
    """What passed through a residual in one forward pass over (B, T) tokens."""

    def __init__(self) -> None:
        self.sources_BTD: list[Tensor] = []
        """The embedding, then each sublayer's output: L + 1."""
        self.reads: list[Read] = []
        """What each sublayer read, then the output aggregation: L + 1."""
        self.projected: list[tuple[Tensor, Tensor, Tensor]] = []
        """Queries, keys and values of each layer, before the residual touched them."""

    def detached(self) -> "Trace":
        """The same values without a graph; reads are left out."""
        trace = Trace()
        trace.sources_BTD = [source.detach() for source in self.sources_BTD]
        trace.projected = [(q.detach(), k.detach(), v.detach()) for q, k, v in self.projected]
        return trace


class Probe(nn.Module):
    """Stands in a residual's place and hands every verb on to it.

    Args:
        residual: the residual.
        silenced: a sublayer whose output is replaced by zeros.
    """

    def __init__(self, residual: Residual, silenced: int | None = None) -> None:
        super().__init__()
        self.residual = residual
        self.silenced = silenced
        self.trace = Trace()
        """Of the last forward pass."""

    def start(self, embedding_BTD: Tensor) -> Any:
        """As `Residual.start`; gradients start here where they are recorded at all."""
        self.trace = Trace()
        embedding_BTD = embedding_BTD.detach().requires_grad_(torch.is_grad_enabled())
        self.trace.sources_BTD.append(embedding_BTD)
        return self.residual.start(embedding_BTD)

    def read(self, state: Any, sublayer: int) -> tuple[Any, Read]:
        """As `Residual.read`."""
        state, read = self.residual.read(state, sublayer)
        self.trace.reads.append(read)
        return state, read

    def attend(
        self, state: Any, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[Any, Tensor, Tensor, Tensor]:
        """As `Residual.attend`."""
        self.trace.projected.append((q_BHTK, k_BGTK, v_BGTK))
        return self.residual.attend(state, layer, q_BHTK, k_BGTK, v_BGTK)

    def write(self, state: Any, sublayer: int, output_BTD: Tensor) -> Any:
        """As `Residual.write`, of zeros where the sublayer is silenced."""
        if sublayer == self.silenced:
            output_BTD = torch.zeros_like(output_BTD)
        self.trace.sources_BTD.append(output_BTD)
        return self.residual.write(state, sublayer, output_BTD)

    def finish(self, state: Any) -> Tensor:
        """As `Residual.finish`."""
        output_BTD = self.residual.finish(state)
        self.trace.reads.append(output_BTD)
        return output_BTD


@contextlib.contextmanager
def probing(model: Transformer, silenced: int | None = None) -> Iterator[Probe]:
    """Puts a probe in the place of a model's residual, and the residual back at the end."""
    residual = model.residual
    probe = Probe(residual, silenced)
    # The loop calls the five verbs alone, all of which the probe has.
    model.residual = cast(Residual, probe)
    try:
        yield probe
    finally:
        model.residual = residual
