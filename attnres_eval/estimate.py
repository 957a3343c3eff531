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

from attnres_eval.study import RunConfig

UTILISATION = {16: 0.19, 24: 0.22, 36: 0.29, 64: 0.34, 128: 0.46}
"""Share of the fp32 matrix rate that eager PreNorm training reaches, by d_model, one thread."""

TRAFFIC_FLOPS_PER_ELEMENT = 35.0
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


def utilisation(d_model: int) -> float:
    """Interpolates the measured shares; flat beyond them."""
    return float(np.interp(d_model, list(UTILISATION), list(UTILISATION.values())))


def training_seconds(config: RunConfig) -> float:
    """Estimate of a run's training time on one thread, residual traffic included."""
    cost = config.cost()
    rate = matmul_flops_per_second() * utilisation(config.shape.d_model)
    traffic_flops = 3 * cost.residual_traffic_elements_per_token * TRAFFIC_FLOPS_PER_ELEMENT
    return (cost.training_flops_per_token + traffic_flops) * config.tokens / rate


def training_bytes(config: RunConfig) -> float:
    """Estimate of a run's peak memory, the process itself included.

    Weights, gradients and two moments in fp32; what the backward pass needs of each layer; the
    logits and their gradients.
    """
    shape, cost = config.shape, config.cost()
    tokens = config.recipe.batch_sequences * config.recipe.context
    query = shape.n_heads * shape.head_dim
    per_layer = 12 * shape.d_model + 6 * query + 6 * shape.d_ff
    layers = 1 if config.recipe.activation_checkpointing else shape.n_layers
    history = cost.residual_traffic_elements_per_token
    elements = tokens * (layers * per_layer + history + 4 * shape.vocab_size)
    return PROCESS_BYTES + 16.0 * cost.parameters + 4.0 * elements
