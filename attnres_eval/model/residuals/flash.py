"""The two phases of Block AttnRes by the Triton kernels of the package flash-attn-res, on CUDA.

The package computes softmax mixes of raw values by scores q . v / rms(v), with an epsilon of our
choosing and a backward pass of its own. Where it differs from us:

- Its norm has no gain and its scores no scale: ours are folded into the queries it gets.
- What it returns is rounded to bf16: it stands in where autocast asks for that precision.
- It wants a width that is a power of two.
- It adds up the gradient of a query in no fixed order: on CUDA two runs may differ in last bits,
  as they may by torch's own attention.

It stacks the sources of a mix. Blocks stack the finished ones once for all their sublayers; Full
AttnRes would copy its whole history for every sublayer, and is left to torch.compile.
"""

import importlib
from types import ModuleType

import torch
from torch import Tensor

from attnres_eval.model.kernels.switch import wanted
from attnres_eval.model.residuals.base import NORM_EPSILON

DEVICE = "cuda"


def _package() -> ModuleType | None:
    """The package where it is installed, fits the installed Triton, and has a device."""
    if not torch.cuda.is_available():
        return None
    try:
        return importlib.import_module("flash_attn_res")
    except (ImportError, ValueError):  # Triton refuses kernels that it cannot tune
        return None


# Looked for once, here: a compiler cannot see through an import.
package = _package()


def available(device: torch.device) -> bool:
    """Whether the package can compute on the device."""
    return package is not None and device.type == DEVICE


def takes(values: Tensor) -> bool:
    """Whether the package computes mixes of such values, (..., D), under the current autocast."""
    width, device = values.shape[-1], values.device.type
    return (
        package is not None
        and device == DEVICE
        and wanted()
        and torch.is_autocast_enabled(device)
        and torch.get_autocast_dtype(device) == torch.bfloat16
        and width & (width - 1) == 0
    )


def first_phase(values_SBTD: Tensor, query_RD: Tensor) -> tuple[Tensor, Tensor]:
    """R readers' mixes of finished blocks, in one pass.

    Args:
        values_SBTD: the blocks, contiguous.
        query_RD: the readers' queries, gain and scale folded in, fp32.

    Returns:
        Mixes (R, B, T, D), bf16, and the logarithm of the summed exponentials of their scores,
        (R, B, T, 1), fp32.
    """
    assert package is not None
    phase = package.phase_1_batched_attention_triton_op
    mixed_RBTD, logsumexp_RBT = phase(values_SBTD, query_RD.contiguous(), NORM_EPSILON)
    return mixed_RBTD, logsumexp_RBT.unsqueeze(-1)


def merge(mixed_BTD: Tensor, logsumexp_BT1: Tensor, partial_BTD: Tensor, query_D: Tensor) -> Tensor:
    """A reader's mix of finished blocks with the running partial sum added, (B, T, D), bf16.

    Args:
        mixed_BTD: of the first phase.
        logsumexp_BT1: of the first phase.
        partial_BTD: the sum.
        query_D: the reader's query, gain and scale folded in, fp32.
    """
    assert package is not None
    phase = package.phase_2_online_softmax_merge_triton_op
    return phase(
        partial_BTD.contiguous(),
        query_D.contiguous(),
        mixed_BTD.contiguous(),
        logsumexp_BT1.squeeze(-1).contiguous(),
        NORM_EPSILON,
    )
