"""Delta Attention Residuals: PreNorm's stream with attention over depth added to each read."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.depth import DepthAttention, Sources
from attnres_eval.shape import ModelShape
from attnres_eval.variants.attnres import AttnResOptions
from attnres_eval.variants.delta_attnres import DeltaAttnResOptions


class DeltaState(NamedTuple):
    """History of Delta AttnRes."""

    stream_BTD: Tensor
    change_BTD: Tensor | None
    """Change of the stream since the running block began; None where it has just begun."""
    sources: Sources
    """The embedding and the changes over finished blocks."""


class DeltaAttnRes(DepthAttention):
    """u_l = h_l + g_l sum_i alpha_il v_i; h_{l+1} = h_l + f_l(u_l) (arXiv:2605.18855).

    Sources are the embedding and the change of h over each finished block, of which the full form
    has one a sublayer. The first sublayer reads h alone, and so does the final norm.
    """

    gate: Tensor | None
    """(L - 1,): g of the sublayers after the first; one where absent."""

    def __init__(self, shape: ModelShape, options: DeltaAttnResOptions) -> None:
        super().__init__(shape, options, options.source_counts(shape), AttnResOptions())
        gated = options.gate == "zero"
        gate = nn.Parameter(torch.empty(shape.n_sublayers - 1)) if gated else None
        self.register_parameter("gate", gate)
        self.ends = {end for _, end in options.bounds(shape)}

    def initialise(self, seed: int) -> None:
        """Zero queries, and zero gates where there are any."""
        super().initialise(seed)
        if self.gate is not None:
            nn.init.zeros_(self.gate)

    def start(self, embedding_BTD: Tensor) -> DeltaState:
        return DeltaState(embedding_BTD, None, (self.source(embedding_BTD, first=1),))

    def read(self, state: DeltaState, sublayer: int) -> tuple[DeltaState, Tensor]:
        if sublayer == 0:
            return state, state.stream_BTD
        routed_BTD = self.mix(sublayer, state.sources)
        if self.gate is not None:
            routed_BTD = routed_BTD * self.gate[sublayer - 1].to(routed_BTD.dtype)
        return state, state.stream_BTD + routed_BTD

    def write(self, state: DeltaState, sublayer: int, output_BTD: Tensor) -> DeltaState:
        change = output_BTD if state.change_BTD is None else state.change_BTD + output_BTD
        stream, end = state.stream_BTD + output_BTD, sublayer + 1
        if end in self.ends and end < self.shape.n_sublayers:
            return DeltaState(stream, None, (*state.sources, self.source(change, first=end)))
        return DeltaState(stream, change, state.sources)

    def pack(self, state: DeltaState) -> tuple[Tensor, ...]:
        change = () if state.change_BTD is None else (state.change_BTD,)
        return state.stream_BTD, *change, *(source.values_BTD for source in state.sources)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> DeltaState:
        stream_BTD, *rest = tensors
        change_BTD = None if 2 * layer in self.ends else rest.pop(0)
        sources = tuple(self.source(values_BTD, first=2 * layer) for values_BTD in rest)
        return DeltaState(stream_BTD, change_BTD, sources)

    def finish(self, state: DeltaState) -> Tensor:
        return state.stream_BTD
