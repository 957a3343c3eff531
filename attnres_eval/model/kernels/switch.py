"""When the compiled kernels stand in for plain torch."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from attnres_eval.model.kernels.build import library

FP32, BF16_OF_FP32, BF16 = range(3)
"""Kinds: all fp32; bf16 products and outputs of fp32 inputs; of bf16 inputs."""

_wanted = True


@contextlib.contextmanager
def kernels(wanted: bool, tiles: bool | None = None) -> Iterator[None]:
    """Lets the kernels stand in, or not, inside.

    Args:
        wanted: whether they may.
        tiles: whether their bf16 products may use the processor's matrix tiles; as before if None.
    """
    global _wanted
    before, _wanted = _wanted, wanted
    tiles_before = None if tiles is None else use_tiles(tiles)
    try:
        yield
    finally:
        _wanted = before
        if tiles_before is not None:
            use_tiles(tiles_before)


def wanted() -> bool:
    """Whether the kernels may stand in."""
    return _wanted


def use_tiles(wanted: bool) -> bool:
    """Lets bf16 products use the processor's matrix tiles where it has them, or not, from here on.

    Returns:
        Whether they did.
    """
    kernels = library()
    return kernels is not None and bool(kernels.use_tiles(int(wanted)))


def tiles_used() -> bool:
    """Whether bf16 products use the processor's matrix tiles."""
    kernels = library()
    return kernels is not None and bool(kernels.tiles_used())


def available(device: torch.device) -> bool:
    """Whether there are kernels for the device."""
    return device.type == "cpu" and library() is not None


def multiplies_bf16() -> bool:
    """Whether the processor has products of bf16 that the kernels use."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def kind(x: Tensor, *weights: Tensor | None) -> int | None:
    """Which kernel takes this input; None where plain torch must.

    Plain torch is what compilers, counters of FLOPs and transforms of functions see through, and
    what every device and dtype has.
    """
    if not _wanted or x.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    if any(w is not None and w.dtype != torch.float32 for w in weights) or library() is None:
        return None
    if (
        _get_current_dispatch_mode() is not None
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or not x.numel()
    ):
        return None
    if not torch.is_autocast_enabled("cpu"):
        return FP32 if x.dtype == torch.float32 else None
    if torch.get_autocast_dtype("cpu") != torch.bfloat16 or not multiplies_bf16():
        return None
    return {torch.float32: BF16_OF_FP32, torch.bfloat16: BF16}.get(x.dtype)
