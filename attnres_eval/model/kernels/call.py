"""Calls of the compiled library."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnres_eval.model.kernels.build import library
from attnres_eval.model.kernels.switch import FP32

Argument = Tensor | Sequence[Tensor | int | None] | None


def call(name: str, kind: int, numbers: tuple[int | float, ...], *arguments: Argument) -> None:
    """Calls a kernel.

    Args:
        name: of the function in `cpp/kernels.cpp`.
        kind: its types, one of `attnres_eval.model.kernels.switch`.
        numbers: what stands before the tensors; a kernel's numbers keep their types.
        arguments: contiguous tensors on the processor, lists of them, or None for a null pointer,
            which a list may have too; a list may also have addresses, as of `row_addresses`.
    """
    function = _FUNCTIONS.get(name) or _declared(name, numbers, len(arguments))
    function(kind, torch.get_num_threads(), *numbers, *map(_pointer, arguments))


_FUNCTIONS: dict[str, Any] = {}


def _declared(name: str, numbers: tuple[int | float, ...], arguments: int) -> Any:
    """A function with its types, by which ctypes takes plain numbers: calls are many and short."""
    function = getattr(library(), name)
    function.restype = None
    of_numbers = (ctypes.c_float if isinstance(n, float) else ctypes.c_int64 for n in numbers)
    pointers = [ctypes.c_void_p] * arguments
    function.argtypes = [ctypes.c_int, ctypes.c_int, *of_numbers, *pointers]
    _FUNCTIONS[name] = function
    return function


def row_addresses(matrix: Tensor, first: int = 0) -> range:
    """Where the rows of a contiguous matrix begin, from a first one on.

    Views of them would be tensors to make.
    """
    rows, width = matrix.shape
    begin, size = matrix.data_ptr(), width * matrix.element_size()
    return range(begin + first * size, begin + rows * size, size)


def _pointer(argument: Argument) -> Any:
    if argument is None:
        return None
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    pointers = (one.data_ptr() if isinstance(one, Tensor) else one for one in argument)
    return (ctypes.c_void_p * len(argument))(*pointers)


def output_dtype(kind: int) -> torch.dtype:
    """What a kernel writes, and reads of what another one wrote."""
    return torch.float32 if kind == FP32 else torch.bfloat16
