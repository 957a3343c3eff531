"""Cached decoding as evaluation does it, over PreNorm's: greedy, one growing cache, a batch."""

import numpy as np

from attnres_eval.bench.plan import REPORTED_ONLY, Plan
from attnres_eval.bench.rounds import Measured, Times, Turn, interleave, ratio, summary
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.bench.sizes import bench_shape
from attnres_eval.bench.steps import BASE
from attnres_eval.evaluate.decode import decode
from attnres_eval.evaluate.network import Network
from attnres_eval.model.hf import AttnResConfig, AttnResForCausalLM
from attnres_eval.model.initialise import initialise
from attnres_eval.shape import ModelShape
from attnres_eval.variants import parse_options

AIMS = {"block_attnres": Aim(1.05)}
BATCHES = (1, 32)
PROMPT, NEW = 1, 128
"""Tokens given, so few that reading them takes no time, and tokens decoded."""


def decoder(shape: ModelShape, variant: str, rows: int, prompt: int, new: int) -> Turn:
    """Decodes `new` tokens behind `rows` prompts, in fp32, which is evaluation's default."""
    options = parse_options(variant, {})
    config = AttnResConfig.of(shape, variant, options.model_dump(mode="json"), 0)
    model = AttnResForCausalLM(config)
    initialise(model.model, seed=0)
    model.eval().requires_grad_(False)
    network = Network(model)
    if not network.shares:
        raise RuntimeError(f"{variant} does not take evaluation's caches")
    # No two first tokens are the same: rows share nothing.
    prompts = [(np.arange(prompt) * 7 + row) % shape.vocab_size for row in range(rows)]
    return lambda: decode(network, prompts, new, rows, lambda _: False)


def decoding_times(
    shape: ModelShape,
    variants: tuple[str, ...],
    batch_size: int,
    rounds: int,
    prompt: int = PROMPT,
    new: int = NEW,
) -> Times:
    """Seconds of PreNorm and of each variant to read the prompts and decode, one a round."""
    names = dict.fromkeys((BASE, *variants))
    turns = {name: decoder(shape, name, batch_size, prompt, new) for name in names}
    return interleave(turns, rounds)


def measure(plan: Plan) -> list[Row]:
    """Rows of every variant, size and batch, and PreNorm's own time for a token."""
    rows = []
    for size in plan.sizes:
        shape = bench_shape(size)
        for batch_size in BATCHES:
            plan.say(f"decoding: {size}, batch {batch_size}: {', '.join(plan.variants)}")
            times = decoding_times(shape, plan.variants, batch_size, plan.rounds)
            for name in times:
                base = name == BASE
                aim = None if size in REPORTED_ONLY else AIMS.get(name)
                what = f"cached decoding, batch {batch_size}"
                rows.append(
                    measured_row(
                        "decoding",
                        f"{what}, milliseconds a step of {BASE}"
                        if base
                        else f"{what}, {name} over {BASE}",
                        size,
                        _milliseconds(times) if base else ratio(times, name, BASE),
                        aim=aim,
                        precision="fp32",
                        rounds=plan.rounds,
                    )
                )
    return rows


def _milliseconds(times: Times) -> Measured:
    return summary([1e3 * seconds / NEW for seconds in times[BASE]])
