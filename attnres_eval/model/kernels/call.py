"""Calls of the compiled library."""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnres_eval.model.kernels.build import library
from attnres_eval.model.kernels.switch import FP32


@functools.cache
def _function(name: str) -> Any:
    function = getattr(library(), name)
    function.restype = None
    return function


def call(
    name: str,
    kind: int,
    sizes: tuple[int, ...],
    *arguments: Tensor | Sequence[Tensor | None] | None,
) -> None:
    """Calls a kernel.

    Args:
        name: of the function in `cpp/kernels.cpp`.
        kind: its types, one of `attnres_eval.model.kernels.switch`.
        sizes: what stands before the tensors.
        arguments: contiguous tensors on the processor, lists of them, or None for a null pointer,
            which a list may have too.
    """
    _function(name)(
        ctypes.c_int(kind),
        ctypes.c_int(torch.get_num_threads()),
        *map(ctypes.c_int64, sizes),
        *map(_pointer, arguments),
    )


def _pointer(argument: Tensor | Sequence[Tensor | None] | None) -> Any:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if argument is None:
        return ctypes.c_void_p(0)
    pointers = (None if one is None else one.data_ptr() for one in argument)
    return (ctypes.c_void_p * len(argument))(*pointers)


def output_dtype(kind: int) -> torch.dtype:
    """What a kernel writes, and reads of what another one wrote."""
    return torch.float32 if kind == FP32 else torch.bfloat16
