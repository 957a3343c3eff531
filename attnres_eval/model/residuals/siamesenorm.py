"""SiameseNorm (arXiv:2602.08064): a PostNorm and a PreNorm stream share the sublayers."""

import torch
from torch import Tensor, nn

from attnres_eval.model.residuals.base import Residual
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options
from attnres_eval.variants.siamesenorm import SiameseNormOptions

Streams = tuple[Tensor, Tensor]


class SiameseNorm(Residual):
    """z = f_l(N(x) + N(y)); x <- N(x) + z / c; y <- y + z; the output is N(x) + N(y).

    c = sqrt(2 b) in transformer block b = 1, 2, ... The state is both streams (x, y), each
    (B, T, D); after a reading x is normalised already. Row L of the gains is the output's.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        assert isinstance(options, SiameseNormOptions)
        super().__init__(shape, options)
        self.branch_scale = options.branch_scale
        self.x_gain = nn.Parameter(torch.empty(shape.n_sublayers + 1, shape.d_model))
        self.y_gain = nn.Parameter(torch.empty(shape.n_sublayers + 1, shape.d_model))

    def initialise(self, seed: int) -> None:
        nn.init.ones_(self.x_gain)
        nn.init.ones_(self.y_gain)

    def start(self, embedding_BTD: Tensor) -> Streams:
        return embedding_BTD, embedding_BTD

    def read(self, state: Streams, sublayer: int) -> tuple[Streams, Tensor]:
        x_BTD, y_BTD = state
        x_BTD = self.normalise(x_BTD, self.x_gain[sublayer])
        return (x_BTD, y_BTD), x_BTD + self.normalise(y_BTD, self.y_gain[sublayer])

    def write(self, state: Streams, sublayer: int, output_BTD: Tensor) -> Streams:
        x_BTD, y_BTD = state
        block = sublayer // 2 + 1
        divisor = (2 * block) ** 0.5 if self.branch_scale else 1.0
        return x_BTD + output_BTD / divisor, y_BTD + output_BTD

    def finish(self, state: Streams) -> Tensor:
        return self.read(state, self.shape.n_sublayers)[1]
