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
"""Resident memory of a worker beside what is counted below: torch, transformers, the data."""


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
    if precision == "auto":
        precision = "bf16" if cpu_multiplies_bf16() else "fp32"
    shares = UTILISATION[precision]
    return float(np.interp(d_model, list(shares), list(shares.values())))


def training_seconds(config: RunConfig) -> float:
    """Estimate of a run's training time on one thread, residual traffic included."""
    cost = config.cost()
    rate = matmul_flops_per_second() * utilisation(config.shape.d_model, config.recipe.precision)
    traffic_flops = 3 * cost.residual_traffic_elements_per_token * TRAFFIC_FLOPS_PER_ELEMENT
    return (cost.training_flops_per_token + traffic_flops) * config.tokens / rate


def training_bytes(config: RunConfig) -> float:
    """Estimate of a run's peak memory, the process itself included.

    Weights, gradients and two moments in fp32; what the backward pass needs of each layer; the
    logits and their gradients.
    """
    shape, cost = config.shape, config.cost()
    at_once = config.recipe.micro_batch_sequences or config.recipe.batch_sequences
    tokens = at_once * config.recipe.context
    query = shape.n_heads * shape.head_dim
    per_layer = 12 * shape.d_model + 6 * query + 6 * shape.d_ff
    layers = 1 if config.recipe.activation_checkpointing else shape.n_layers
    history = cost.residual_traffic_elements_per_token
    elements = tokens * (layers * per_layer + history + 4 * shape.vocab_size)
    return PROCESS_BYTES + 16.0 * cost.parameters + 4.0 * elements
