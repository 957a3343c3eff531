"""The protocol behind which sums, gates, several streams and attention over depth look alike."""

from typing import Any

from torch import Tensor, nn

from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options


class Residual(nn.Module):
    """Decides what each sublayer reads, how its output is written, and what the final norm sees.

    Legend: B batch, T tokens, D d_model, H query heads, G key and value heads, K head_dim.
    Sublayers are numbered from 0; attention is even, MLP odd.

    The history travels in a `state` of the variant's own making: one tensor, or a tuple of them.
    A verb returns a new state and never changes the one it was given, so that autograd,
    activation checkpointing and compilation see plain functions.

    Subclasses implement `start`, `read`, `write` and `finish`, and `initialise` where they have
    parameters. Every parameter of a residual is trained without weight decay.
    """

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__()
        self.shape = shape
        self.options = options

    def initialise(self) -> None:
        """Sets every parameter of this residual to its starting value.

        Draws nothing from the global generator: weights that variants share do not depend on it.
        """

    def start(self, embedding_BTD: Tensor) -> Any:
        """The history before the first sublayer."""
        raise TypeError(f"{type(self).__name__} must define start")

    def read(self, state: Any, sublayer: int) -> Tensor:
        """What the sublayer reads, before its own norm: (B, T, D)."""
        raise TypeError(f"{type(self).__name__} must define read")

    def write(self, state: Any, sublayer: int, output_BTD: Tensor) -> Any:
        """The history after the sublayer has put out `output_BTD`."""
        raise TypeError(f"{type(self).__name__} must define write")

    def finish(self, state: Any) -> Tensor:
        """What the final norm sees: (B, T, D)."""
        raise TypeError(f"{type(self).__name__} must define finish")

    def attend(
        self, state: Any, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[Any, Tensor, Tensor, Tensor]:
        """May touch queries, keys and values before the rotary embedding; leaves them as they are.

        Only this step's tokens are seen: during cached generation earlier tokens' keys and values
        are already in the cache, as this verb returned them.
        """
        return state, q_BHTK, k_BGTK, v_BGTK
