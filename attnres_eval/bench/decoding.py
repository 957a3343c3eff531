"""Cached decoding as evaluation does it, over PreNorm's: greedy, one growing cache, a batch."""

import numpy as np

from attnres_eval.bench.plan import REPORTED_ONLY, Plan
from attnres_eval.bench.rounds import Measured, Pair, Turn, beside, summary
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


def decoding_pairs(
    shape: ModelShape,
    variants: tuple[str, ...],
    batch_size: int,
    rounds: int,
    prompt: int = PROMPT,
    new: int = NEW,
    seconds: float = 0,
) -> dict[str, Pair]:
    """Seconds to read the prompts and decode, of each variant and of PreNorm next to it.

    Args:
        shape: the decoder.
        variants: names; PreNorm counts only where it is alone, against a second copy of itself.
        batch_size: prompts decoded at once.
        rounds: timed pairs of each.
        prompt: tokens given.
        new: tokens decoded.
        seconds: as for `rounds.interleave`.
    """
    names = [name for name in variants if name != BASE] or [BASE]
    turns = {name: decoder(shape, name, batch_size, prompt, new) for name in names}
    base = decoder(shape, BASE, batch_size, prompt, new)
    return beside(base, turns, rounds, seconds=seconds)


def measure(plan: Plan) -> list[Row]:
    """Rows of every variant, size and batch, and PreNorm's own time for a token."""
    rows = []
    for size in plan.sizes:
        shape = bench_shape(size)
        for batch_size in BATCHES:
            plan.say(f"decoding: {size}, batch {batch_size}: {', '.join(plan.variants)}")
            pairs = decoding_pairs(
                shape, plan.variants, batch_size, plan.rounds, seconds=plan.seconds / 2
            )
            what = f"cached decoding, batch {batch_size}"
            base = [1e3 * one / NEW for pair in pairs.values() for one in pair.other]
            quantity = f"{what}, milliseconds a step of {BASE}"
            rows.append(_row(quantity, size, summary(base), len(base)))
            for name, pair in pairs.items():
                aim = None if size in REPORTED_ONLY else AIMS.get(name)
                quantity = f"{what}, {name} over {BASE}"
                rows.append(_row(quantity, size, pair.ratio, len(pair.own), aim))
    return rows


def _row(quantity: str, size: str, value: Measured, rounds: int, aim: Aim | None = None) -> Row:
    return measured_row("decoding", quantity, size, value, aim=aim, precision="fp32", rounds=rounds)
