"""Learned averages of block states."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.model.residuals.dense import Source, source, values_of, weighted_sums
from attnres_eval.shape import ModelShape
from attnres_eval.variants.denseformer import DenseFormerOptions, averages


class DenseState(NamedTuple):
    """History of DenseFormer."""

    stream_BTD: Tensor
    """What the running block reads and adds to."""
    blocks: tuple[Source, ...]
    """X_0, the embedding, and the states of all finished blocks."""


class DenseFormer(Residual):
    """X_i = Block_i(Y_{i-1}), Y_i = sum_{j<=i} a_ij X_j (arXiv:2402.02622 section 3).

    `weights` holds the vectors a_i one after the other, each with its own state's weight last.
    """

    def __init__(self, shape: ModelShape, options: DenseFormerOptions) -> None:
        super().__init__(shape, options)
        self.averages = averages(shape.n_layers, options)
        self.counts = [len(states) for states in self.averages.values()]
        self.weights = nn.Parameter(torch.empty(sum(self.counts)))

    def initialise(self, seed: int) -> None:
        """One on the own state, zero on earlier ones: PreNorm."""
        nn.init.zeros_(self.weights)
        for weights in self.weights.split(self.counts):
            nn.init.ones_(weights[-1])

    def start(self, embedding_BTD: Tensor) -> DenseState:
        latest = source(embedding_BTD, self.frozen)
        return DenseState(values_of(latest), (latest,))

    def read(self, state: DenseState, sublayer: int) -> tuple[DenseState, Tensor]:
        return state, state.stream_BTD

    def write(self, state: DenseState, sublayer: int, output_BTD: Tensor) -> DenseState:
        stream = state.stream_BTD + output_BTD
        if sublayer % 2 == 0:
            return state._replace(stream_BTD=stream)
        latest = source(stream, self.frozen)
        stream, blocks = values_of(latest), (*state.blocks, latest)
        block = len(blocks) - 1
        if block in self.averages:
            weights = self.weights.split(self.counts)[list(self.averages).index(block)]
            averaged = [blocks[earlier] for earlier in self.averages[block]]
            (stream,) = weighted_sums(weights.float().unsqueeze(0), averaged)
        return DenseState(stream, blocks)

    def pack(self, state: DenseState) -> tuple[Tensor, ...]:
        return state.stream_BTD, *map(values_of, state.blocks)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> DenseState:
        stream_BTD, *blocks = tensors
        return DenseState(stream_BTD, tuple(source(block, self.frozen) for block in blocks))

    def finish(self, state: DenseState) -> Tensor:
        return state.stream_BTD
