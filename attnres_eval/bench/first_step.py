"""Trains one step in a process of its own, for `startup`, which times the whole process."""

from attnres_eval.bench.child import answer
from attnres_eval.bench.ours import batch, default_precision, machine, our_trainer
from attnres_eval.bench.sizes import TOKENS_A_STEP, bench_shape


def first_step(size: str, variant: str, compiled: bool, tokens: int = TOKENS_A_STEP) -> float:
    """Makes a model, takes one step, and returns its loss in nats."""
    shape = bench_shape(size)
    trainer = our_trainer(shape, variant, machine(default_precision(shape), compiled=compiled))
    return trainer.step(batch(shape, tokens))


if __name__ == "__main__":
    answer(first_step)
