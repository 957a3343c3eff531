"""x0-lambdas (karpathy/nanochat): every block starts from the stream and the embedding, scaled."""

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.x0_lambdas import X0LambdasOptions

State = tuple[Tensor, Tensor]


class X0Lambdas(Residual):
    """x <- r_i x + e_i N0(x0) before transformer block i, then PreNorm.

    The state is the stream and the normalised embedding, each (B, T, D); `resid_lambdas` are r and
    `x0_lambdas` e, one for each block.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, X0LambdasOptions)
        super().__init__(shape, options)
        self.decaying = options.init == "decaying"
        self.resid_lambdas = nn.Parameter(torch.empty(shape.n_layers))
        self.x0_lambdas = nn.Parameter(torch.empty(shape.n_layers))

    def initialise(self, seed: int) -> None:
        nn.init.ones_(self.resid_lambdas)
        nn.init.zeros_(self.x0_lambdas)
        if self.decaying:
            depth = torch.arange(self.shape.n_layers) / max(self.shape.n_layers - 1, 1)
            self.resid_lambdas.copy_(1.15 - 0.10 * depth)
            self.x0_lambdas.copy_(0.20 - 0.15 * depth)

    def learning_rate_factors(self) -> dict[str, float]:
        return {"resid_lambdas": 0.01}

    def start(self, embedding_BTD: Tensor) -> State:
        return embedding_BTD, self.normalise(embedding_BTD)

    def read(self, state: State, sublayer: int) -> tuple[State, Tensor]:
        x_BTD, x0_BTD = state
        if sublayer % 2 == 0:
            keep, add = self.resid_lambdas[sublayer // 2], self.x0_lambdas[sublayer // 2]
            mixed_BTD = keep.float() * x_BTD.float() + add.float() * x0_BTD.float()
            x_BTD = mixed_BTD.to(x_BTD.dtype)
        return (x_BTD, x0_BTD), x_BTD

    def write(self, state: State, sublayer: int, output_BTD: Tensor) -> State:
        x_BTD, x0_BTD = state
        return x_BTD + output_BTD, x0_BTD

    def finish(self, state: State) -> Tensor:
        return state[0]
