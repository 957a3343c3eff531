"""What a run will take on this machine, before anything is spent. Torch-free.

Time is FLOPs over the rate at which this machine multiplies matrices, measured when it is asked
for, times the share of that rate which training reaches at a width. The shares were measured on
this project's own runs (LOG.md) and hold to about a factor of 1.5 on other processors; studies
report the times that they measured.
"""

import functools
import time

import numpy as np
from threadpoolctl import threadpool_limits

from attnres_eval.memory import Precision, step_memory
from attnres_eval.processor import cpu_multiplies_bf16
from attnres_eval.study import RunConfig

UTILISATION = {
    "fp32": {16: 0.4, 24: 0.46, 36: 0.63, 64: 0.9, 128: 1.1, 256: 1.4},
    "bf16": {16: 0.52, 24: 0.64, 36: 0.88, 64: 1.45, 128: 1.9, 256: 2.4},
}
"""Training rate of PreNorm with our kernels over the fp32 matrix rate, by precision and d_model,
one thread. Above 1, since that rate is another library's, which may leave half of the processor
unused, and bf16 products are faster."""

TRAFFIC_FLOPS_PER_ELEMENT = 60.0
"""Mixing is bound by memory: an element of its traffic takes as long as this many FLOPs."""

PROCESS_BYTES = 560 * 2**20
"""Resident memory of a worker beside what a step needs: torch, transformers, the data."""

HELD_BACK = 1.2
"""Resident memory of a step over what it needs, under the allocator's setting of a worker
(`attnres_eval.train.allocator`), which gives nothing back between steps. Measured with the kernels:
1.0 to 1.3; with activation checkpointing, which asks for other sizes, 2.2 to 3.8."""


@functools.cache
def matmul_flops_per_second() -> float:
    """fp32 matrix products of this machine on one thread, FLOP/s: the best of a few tries."""
    size = 768
    factor = np.ones((size, size), dtype=np.float32)
    best = float("inf")
    with threadpool_limits(1):
        for _ in range(8):
            start = time.perf_counter()
            factor @ factor
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def utilisation(d_model: int, precision: str) -> float:
    """Interpolates the measured shares; flat beyond them. `auto` is bf16 where it is multiplied."""
    shares = UTILISATION[_precision(precision)]
    return float(np.interp(d_model, list(shares), list(shares.values())))


def training_seconds(config: RunConfig) -> float:
    """Estimate of a run's training time on one thread, residual traffic included."""
    cost = config.cost()
    rate = matmul_flops_per_second() * utilisation(config.shape.d_model, config.recipe.precision)
    traffic_flops = 3 * cost.residual_traffic_elements_per_token * TRAFFIC_FLOPS_PER_ELEMENT
    return (cost.training_flops_per_token + traffic_flops) * config.tokens / rate


def training_bytes(config: RunConfig) -> float:
    """Estimate of a run's peak memory in a worker on a processor, the process itself included.

    What a step needs where the kernels compute (`attnres_eval.memory`), with what the worker's
    allocator holds back for the next one.
    """
    recipe = config.recipe
    at_once = recipe.micro_batch_sequences or recipe.batch_sequences
    needed = step_memory(
        config.shape,
        config.variant,
        config.parsed_options,
        tokens=at_once * recipe.context,
        precision=_precision(recipe.precision),
        kernels=True,
        activation_checkpointing=recipe.activation_checkpointing,
        optimizer=recipe.optimizer,
        accumulating=at_once < recipe.batch_sequences,
    )
    return PROCESS_BYTES + HELD_BACK * needed.total


def _precision(wanted: str) -> Precision:
    """What a run takes: `auto` is bf16 where it is multiplied."""
    if wanted == "auto":
        return "bf16" if cpu_multiplies_bf16() else "fp32"
    return "fp32" if wanted == "fp32" else "bf16"
