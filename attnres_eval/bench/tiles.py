"""Training steps by the processor's matrix tiles over the same steps without them."""

from collections.abc import Iterator

from attnres_eval.bench.ours import batch, machine, our_trainer
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rounds import Times, Turn, interleave, ratio
from attnres_eval.bench.rows import Row, measured_row
from attnres_eval.bench.sizes import TOKENS_A_STEP, bench_shape
from attnres_eval.bench.steps import BASE
from attnres_eval.model.kernels.switch import tiles_used, use_tiles
from attnres_eval.shape import ModelShape

WITH, WITHOUT = "with tiles", "without"


def tiles_there() -> bool:
    """Whether the processor has them and the compiler knows them."""
    before = use_tiles(True)
    there = tiles_used()
    use_tiles(before)
    return there


def tiled_times(
    shape: ModelShape,
    variant: str,
    rounds: int,
    tokens: int = TOKENS_A_STEP,
    seconds: float = 0,
) -> Times:
    """Seconds a bf16 step of one variant, with tiles and without, one a round."""

    def step(tiles: bool) -> Turn:
        how = machine("bf16").model_copy(update={"tiles": tiles})
        trainer = our_trainer(shape, variant, how, tokens=tokens)
        tokens_BT = batch(shape, tokens)
        return lambda: trainer.step(tokens_BT)

    return interleave({WITH: step(True), WITHOUT: step(False)}, rounds, warmups=2, seconds=seconds)


def measure(plan: Plan) -> list[Row]:
    """A row of every variant and size; none where the processor has no tiles."""
    if not tiles_there():
        plan.say("tiles: this processor has none")
        return []
    return list(_rows(plan))


def _rows(plan: Plan) -> Iterator[Row]:
    for size in plan.sizes:
        for variant in dict.fromkeys((BASE, *plan.variants)):
            plan.say(f"tiles: {size}, {variant}")
            times = tiled_times(bench_shape(size), variant, plan.rounds, seconds=plan.seconds / 9)
            yield measured_row(
                "tiles",
                f"training step of {variant}, with matrix tiles over without",
                size,
                ratio(times, WITH, WITHOUT),
                precision="bf16",
                rounds=len(times[WITH]),
            )
