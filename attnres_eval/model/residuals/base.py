"""The protocol behind which sums, gates, several streams and attention over depth look alike."""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from attnres_eval.model.kernels.decode import DecodePlan
from attnres_eval.shape import ModelShape
from attnres_eval.variants import Options

NORM_EPSILON = 1e-6


class QKV(NamedTuple):
    """Separate inputs of an attention sublayer's queries, keys and values, each (B, T, D)."""

    q: Tensor
    k: Tensor
    v: Tensor


class Residual(nn.Module):
    """Decides what each sublayer reads, how its output is written, and what the final norm sees.

    Legend: B batch, T tokens, D d_model, H query heads, G key and value heads, K head_dim, N
    streams, L sublayers. Sublayers are numbered from 0; attention is even, MLP odd.

    The history travels in a `state` of the variant's own making: a tensor, or a tuple of them.
    A verb returns a new state and never changes the one it was given, so that autograd,
    activation checkpointing and compilation see plain functions. Nothing mixes tokens.

    Subclasses implement `start`, `read`, `write` and `finish`, and `initialise` where they have
    parameters. Parameters of all sublayers are stacked, the sublayer first: (L, ...). Every
    parameter of a residual is trained without weight decay.

    Everything that multiplies a source and depends on the data (softmax weights, gates, the
    reciprocal RMS of a norm on the way) passes through `coefficient` or `normalise`, so that an
    inspection can hold it fixed and read the remaining linear map.
    """

    sublayer_norms = True
    """Whether each sublayer normalises what it reads."""
    final_norm = True
    """Whether the decoder normalises what `finish` returns."""

    def __init__(self, shape: ModelShape, options: Options) -> None:
        super().__init__()
        self.shape = shape
        self.options = options
        self.frozen = False
        """While set, coefficients are constants to automatic differentiation."""

    def initialise(self, seed: int) -> None:
        """Sets every parameter of this residual to its starting value.

        Draws nothing from the global generator (see `attnres_eval.model.draw`): weights that
        variants share do not depend on it.
        """

    def adapt(self, layers: nn.ModuleList) -> None:
        """May change the decoder's own starting weights, where the method asks for that."""

    def start(self, embedding_BTD: Tensor) -> Any:
        """The history before the first sublayer."""
        raise TypeError(f"{type(self).__name__} must define start")

    def read(self, state: Any, sublayer: int) -> tuple[Any, Tensor | QKV]:
        """What the sublayer reads, before its own norm: (B, T, D), or one for each of q, k, v.

        The state comes back with whatever `write` will need of this reading.
        """
        raise TypeError(f"{type(self).__name__} must define read")

    def write(self, state: Any, sublayer: int, output_BTD: Tensor) -> Any:
        """The history after the sublayer has put out `output_BTD`."""
        raise TypeError(f"{type(self).__name__} must define write")

    def finish(self, state: Any) -> Tensor:
        """What the final norm sees: (B, T, D)."""
        raise TypeError(f"{type(self).__name__} must define finish")

    def pack(self, state: Any) -> tuple[Tensor, ...]:
        """The history between two layers as tensors, batch first, for another process to go on.

        By default the state is a tensor or a tuple of them.
        """
        return (state,) if isinstance(state, Tensor) else tuple(state)

    def unpack(self, tensors: tuple[Tensor, ...], layer: int) -> Any:
        """The history that `pack` made tensors of, as `layer` finds it, which is not the first."""
        return tensors[0] if len(tensors) == 1 else tensors

    def attend(
        self, state: Any, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor
    ) -> tuple[Any, Tensor, Tensor, Tensor]:
        """May touch queries, keys and values before the rotary embedding; leaves them as they are.

        Only this step's tokens are seen: during cached generation earlier tokens' keys and values
        are already in the cache, as this verb returned them.
        """
        return state, q_BHTK, k_BGTK, v_BGTK

    def separate_inputs(self, layer: int) -> bool:
        """Whether `read` returns a `QKV` for this layer's attention, which then has three norms."""
        return False

    def decode_plan(self) -> DecodePlan | None:
        """What the compiled step of decoding does in the place of the verbs; None without such.

        It speaks for the class that defines it and not for subclasses, whose verbs may differ.
        """
        return None

    def learning_rate_factors(self) -> dict[str, float]:
        """Parameters whose learning rate is the recipe's times a factor, where the method says."""
        return {}

    def gradient_free(self) -> dict[str, str]:
        """Parameters that no loss can move, with the reason.

        Keys are a parameter's name, or `name[i]` for row i of a stacked one.
        """
        return {}

    def coefficient(self, value: Tensor) -> Tensor:
        """Marks what multiplies a source: constant to differentiation while `frozen`."""
        return value.detach() if self.frozen else value

    def normalise(self, x: Tensor, gain: Tensor | None = None) -> Tensor:
        """X / rms(x) * gain over the last dimension, on the way of a source."""
        if not self.frozen:
            gain = None if gain is None else gain.to(x.dtype)
            return F.rms_norm(x, x.shape[-1:], gain, NORM_EPSILON)
        scaled = x * (x.detach().float().square().mean(-1, keepdim=True) + NORM_EPSILON).rsqrt()
        return (scaled if gain is None else scaled * gain).to(x.dtype)
