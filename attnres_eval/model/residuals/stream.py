"""What variants with one stream share."""

from torch import Tensor

from attnres_eval.model.residuals.base import Residual


class Stream(Residual):
    """Every sublayer reads the stream as it is; subclasses say how an output joins it.

    The state is the stream, (B, T, D).
    """

    def start(self, embedding_BTD: Tensor) -> Tensor:
        return embedding_BTD

    def read(self, state: Tensor, sublayer: int) -> tuple[Tensor, Tensor]:
        return state, state

    def finish(self, state: Tensor) -> Tensor:
        return state
