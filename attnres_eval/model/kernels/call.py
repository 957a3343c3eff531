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
    numbers: tuple[int | float, ...],
    *arguments: Tensor | Sequence[Tensor | int | None] | None,
) -> None:
    """Calls a kernel.

    Args:
        name: of the function in `cpp/kernels.cpp`.
        kind: its types, one of `attnres_eval.model.kernels.switch`.
        numbers: what stands before the tensors.
        arguments: contiguous tensors on the processor, lists of them, or None for a null pointer,
            which a list may have too; a list may also have addresses, as of `row_address`.
    """
    _function(name)(
        ctypes.c_int(kind),
        ctypes.c_int(torch.get_num_threads()),
        *(ctypes.c_float(n) if isinstance(n, float) else ctypes.c_int64(n) for n in numbers),
        *map(_pointer, arguments),
    )


def row_address(matrix: Tensor, row: int) -> int:
    """Where a row of a contiguous matrix begins; a view would be a tensor more to make."""
    return matrix.data_ptr() + row * matrix.shape[1] * matrix.element_size()


def _pointer(argument: Tensor | Sequence[Tensor | int | None] | None) -> Any:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if argument is None:
        return ctypes.c_void_p(0)
    pointers = (one.data_ptr() if isinstance(one, Tensor) else one for one in argument)
    return (ctypes.c_void_p * len(argument))(*pointers)


def output_dtype(kind: int) -> torch.dtype:
    """What a kernel writes, and reads of what another one wrote."""
    return torch.float32 if kind == FP32 else torch.bfloat16
