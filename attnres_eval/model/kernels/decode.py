"""One token of each row through all layers as one compiled call, for decoding with a cache.

Legend: B batch, D d_model, H query heads, G key and value heads, K head width, S tokens so far with
this one, R readers.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from attnres_eval.model.kernels.call import call
from attnres_eval.model.kernels.switch import FP32, kind
from attnres_eval.shape import ModelShape


class DecodePlan(NamedTuple):
    """A residual as the compiled step knows it: sublayers add to sources, readers mix them.

    A reader mixes all sources that there are by then by softmax attention over depth; a single one
    it takes as it is.
    """

    slots: tuple[int, ...]
    """The source that each sublayer's output is added to. The embedding is source 0, and a
    sublayer opens source n + 1 when n is the latest."""
    queries_RD: Tensor | None = None
    """Of the readers that have several sources, in their order, gain and scale included."""
    normed: bool = False
    """Whether sources are divided by their RMS to be scored."""


class Room(NamedTuple):
    """One layer's cache with room for one more token."""

    keys: Tensor
    """(B, G, capacity, K), as `values`."""
    values: Tensor
    filled: int
    """Tokens that are in it, fewer than the capacity."""


class Growing(Protocol):
    """One layer of a cache whose buffers the compiled step may append to."""

    def room(self) -> Room | None:
        """The buffers; None where they are not allocated or full."""

    def appended(self) -> None:
        """Counts one more token, which is in the buffers already."""


@torch.no_grad()
def decode_step(
    layers: nn.ModuleList,
    shape: ModelShape,
    plan: DecodePlan,
    embedded_B1D: Tensor,
    rotary: tuple[Tensor, Tensor],
    mask: Tensor | None,
    cache: Any,
) -> Tensor | None:
    """What the final norm sees, (B, 1, D); None, and nothing changed, where plain torch must do it.

    Args:
        layers: the decoder's.
        shape: its sizes.
        plan: its residual's.
        embedded_B1D: embedding of one token a row.
        rotary: cosines and signed sines of the tokens' positions, (B or 1, 1, 1, K).
        mask: to add to attention's scores, (B or 1, 1, 1, S); all tokens are seen where absent.
        cache: its attribute `layers` has a `Growing` for each layer.
    """
    weights = [weight for layer in layers for weight in _weights(layer)]
    tensors = [embedded_B1D, *rotary, *(weight for weight in weights if weight is not None)]
    rows, spaces = len(embedded_B1D), _rooms(cache, len(layers))
    if spaces is None or not _fp32([*tensors, plan.queries_RD, mask]):
        return None
    keys, _, filled = spaces[0]
    if any(space.filled != filled or space.keys.shape != keys.shape for space in spaces):
        return None
    if not _fp32([buffer for space in spaces for buffer in space[:2]]) or len(keys) != rows:
        return None
    if mask is not None and mask.shape[1:] != (1, 1, filled + 1):
        return None
    pointers = []
    for index, (keys, values, _) in enumerate(spaces):
        pointers += [*weights[8 * index : 8 * index + 8], keys, values]
    heads = shape.n_heads, shape.n_kv_heads, shape.head_dim
    lengths = len(layers), max(plan.slots) + 1, filled, keys.shape[2]
    steps = _row_length(rotary[0]), 0 if mask is None else _row_length(mask)
    sizes = (rows, shape.d_model, *heads, shape.d_ff, *lengths, *steps, int(plan.normed))
    out_B1D = torch.empty_like(embedded_B1D)
    inputs = _int64(plan.slots), plan.queries_RD, *rotary, mask
    call("decode_step", FP32, sizes, embedded_B1D, pointers, *inputs, out_B1D)
    for layer in cache.layers:
        layer.appended()
    return out_B1D


def _weights(layer: nn.Module) -> list[Tensor | None]:
    """Weights of a layer, as `DecodeLayer` in `cpp/decode.h` has them; None for an absent norm's.

    Read from the modules' own tables, which takes a tenth of the time that attributes take.
    """
    parts = layer._modules
    return [
        parts[name]._modules[module]._parameters.get("weight")  # type: ignore[union-attr]
        for name, module in _PLACES
    ]


_PLACES = (
    *(("attention", name) for name in ("norm", "qkv", "q_norm", "k_norm", "out")),
    *(("mlp", name) for name in ("norm", "gate_up", "down")),
)


def _rooms(cache: Any, count: int) -> list[Room] | None:
    """Room in each of the cache's layers; None where one has none."""
    layers = getattr(cache, "layers", ())
    if len(layers) != count or not all(hasattr(layer, "room") for layer in layers):
        return None
    spaces = [layer.room() for layer in layers]
    return None if None in spaces else spaces


def _fp32(tensors: Sequence[Tensor | None]) -> bool:
    """Whether the kernel takes these: fp32 and contiguous, in a processor's memory."""
    kept = [tensor for tensor in tensors if tensor is not None]
    if kind(*kept) != FP32:
        return False
    return all(tensor.is_cpu and tensor.is_contiguous() for tensor in kept)


def _row_length(table: Tensor) -> int:
    """Of a table with a row for each row of the batch; 0 where they share one."""
    return 0 if len(table) == 1 else table.shape[-1]


@functools.lru_cache
def _int64(numbers: tuple[int, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)
