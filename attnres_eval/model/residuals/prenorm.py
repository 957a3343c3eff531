"""The baseline: every sublayer's output is added to one stream."""

from torch import Tensor

from attnres_eval.model.kernels.decode import DecodePlan
from attnres_eval.model.residuals.base import Residual


class PreNorm(Residual):
    """h[l+1] = h[l] + f_l(h[l]) (arXiv:2002.04745). The state is the stream, (B, T, D)."""

    def start(self, embedding_BTD: Tensor) -> Tensor:
        return embedding_BTD

    def read(self, state: Tensor, sublayer: int) -> tuple[Tensor, Tensor]:
        return state, state

    def write(self, state: Tensor, sublayer: int, output_BTD: Tensor) -> Tensor:
        return state + output_BTD

    def finish(self, state: Tensor) -> Tensor:
        return state

    def decode_plan(self) -> DecodePlan:
        return DecodePlan(slots=(0,) * self.shape.n_sublayers)
