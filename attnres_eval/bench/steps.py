"""Training steps of variants over PreNorm's, interleaved in one process on one thread."""

from attnres_eval.bench.ours import default_precision, our_step
from attnres_eval.bench.plan import REPORTED_ONLY, Plan
from attnres_eval.bench.rounds import Pair, Times, Turn, beside, interleave, summary
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.bench.sizes import TOKENS_A_STEP, bench_shape
from attnres_eval.shape import ModelShape

Labelled = dict[str, tuple[str, dict[str, object]]]
"""By label: a variant's name and its options."""
AIMS = {"block_attnres": Aim(1.05), "full_attnres": Aim(1.15)}
BASE = "prenorm"


def step_times(
    shape: ModelShape,
    variants: Labelled,
    precision: str,
    rounds: int,
    tokens: int = TOKENS_A_STEP,
) -> Times:
    """Seconds a step of PreNorm and of each variant, one a round.

    Args:
        shape: the decoder of all of them.
        variants: by label, a variant's name and options; the label `prenorm` is taken.
        precision: fp32 or bf16.
        rounds: timed steps of each.
        tokens: of a step.
    """
    everyone: Labelled = {BASE: (BASE, {})} | variants
    return interleave(_steps(shape, everyone, precision, tokens), rounds, warmups=2)


def step_pairs(
    shape: ModelShape,
    variants: Labelled,
    precision: str,
    rounds: int,
    tokens: int = TOKENS_A_STEP,
    seconds: float = 0,
) -> dict[str, Pair]:
    """Seconds of each variant's steps, and of PreNorm's next to them.

    Args:
        shape: the decoder of all of them.
        variants: by label, a variant's name and options.
        precision: fp32 or bf16.
        rounds: timed pairs of each.
        tokens: of a step.
        seconds: as for `rounds.interleave`.
    """
    base = our_step(shape, BASE, precision, tokens=tokens)
    steps = _steps(shape, variants, precision, tokens)
    return beside(base, steps, rounds, warmups=2, seconds=seconds)


def _steps(shape: ModelShape, variants: Labelled, precision: str, tokens: int) -> dict[str, Turn]:
    return {
        label: our_step(shape, name, precision, options, tokens)
        for label, (name, options) in variants.items()
    }


def measure(plan: Plan) -> list[Row]:
    """Rows of every variant and size, and PreNorm's own rate."""
    rows = []
    for size in plan.sizes:
        shape = bench_shape(size)
        precision = plan.precision or default_precision(shape)
        plan.say(f"steps: {size}, {precision}: {', '.join(plan.variants)}")
        # PreNorm alone is held against a second copy of itself.
        names = [name for name in plan.variants if name != BASE] or [BASE]
        variants: Labelled = {name: (name, {}) for name in names}
        pairs = step_pairs(shape, variants, precision, plan.rounds, seconds=plan.seconds)
        for name, pair in pairs.items():
            rows.append(
                measured_row(
                    "steps",
                    f"training step, {name} over {BASE}",
                    size,
                    pair.ratio,
                    aim=None if size in REPORTED_ONLY else AIMS.get(name),
                    precision=precision,
                    rounds=len(pair.own),
                )
            )
        base = [seconds for pair in pairs.values() for seconds in pair.other]
        rows.append(
            measured_row(
                "steps",
                f"training speed of {BASE}, tokens per second",
                size,
                summary([TOKENS_A_STEP / seconds for seconds in base]),
                precision=precision,
                rounds=len(base),
            )
        )
    return rows
