"""Resident memory that training adds to a process: run in a process of its own, by `memory`.

Counted is the high-water mark of resident pages over three whole steps, less what was resident
before the model was made: weights, gradients, AdamW's two moments, what the backward pass keeps,
buffers of kernels and optimiser, and what the allocator holds back. Not counted are Python, torch
and other libraries, which a small model is trained beforehand to bring in.
"""

import contextlib
import gc
from pathlib import Path
from typing import Any

from attnres_eval.bench.child import answer
from attnres_eval.bench.ours import CPU, batch, machine, our_trainer
from attnres_eval.bench.sizes import TOKENS_A_STEP, bench_shape
from attnres_eval.shape import ModelShape
from attnres_eval.train.device import peak_memory, reset_peak_memory

STEPS = 3


def resident() -> int | None:
    """Resident bytes of this process; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return None


def added_bytes(
    shape: ModelShape,
    variant: str,
    options: dict[str, Any],
    precision: str,
    tokens: int = TOKENS_A_STEP,
    activation_checkpointing: bool = False,
) -> int | None:
    """Peak bytes that a training step of one variant adds; None where the system does not say."""
    small = shape.model_copy(
        update={"d_model": 16, "n_heads": 1, "n_kv_heads": 1, "head_dim": 16, "d_ff": 16}
    )
    _train(small, variant, options, precision, 2 * shape.context, activation_checkpointing)
    gc.collect()
    before = resident()
    if before is None:
        return None
    reset_peak_memory(CPU)
    _train(shape, variant, options, precision, tokens, activation_checkpointing)
    return peak_memory(CPU) - before


def _train(
    shape: ModelShape,
    variant: str,
    options: dict[str, Any],
    precision: str,
    tokens: int,
    activation_checkpointing: bool,
) -> None:
    trainer = our_trainer(shape, variant, machine(precision), options, tokens)
    trainer.model.activation_checkpointing = activation_checkpointing
    tokens_BT = batch(shape, tokens)
    for _ in range(STEPS):
        trainer.step(tokens_BT)


def _of_size(
    size: str,
    variant: str,
    options: dict[str, Any],
    precision: str,
    context: int,
    tokens: int,
    activation_checkpointing: bool = False,
) -> int | None:
    shape = bench_shape(size, context)
    return added_bytes(shape, variant, options, precision, tokens, activation_checkpointing)


if __name__ == "__main__":
    answer(_of_size)
