"""A study's throughput: one process a core, over one process at a time on all cores."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from attnres_eval.bench.child import THREADS
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rounds import Measured, interleave, summary
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.bench.sizes import MIDDLE, NARROW, TOKENS_A_STEP, bench_shape
from attnres_eval.sweep.executor import cores

AIM = Aim(1.35, upward=True)
SIZES = (NARROW, MIDDLE)
VARIANT = "prenorm"
SECONDS = 2.0
"""About how long a turn lasts."""


def _work(pipe: Connection, size: str, precision: str, threads: int, tokens: int) -> None:
    """In a process of its own: takes as many steps as it is told, and says when it is done."""
    from attnres_eval.bench.ours import batch, machine, our_trainer

    shape = bench_shape(size)
    trainer = our_trainer(shape, VARIANT, machine(precision, threads))
    tokens_BT = batch(shape, tokens)
    while steps := pipe.recv():
        start = time.perf_counter()
        for _ in range(steps):
            trainer.step(tokens_BT)
        pipe.send(time.perf_counter() - start)


class Workers:
    """Processes that train on so many threads each, at the word `take`."""

    def __init__(self, number: int, threads: int, size: str, precision: str, tokens: int) -> None:
        context = multiprocessing.get_context("spawn")
        before = {name: os.environ.get(name) for name in THREADS}
        # Pools of threads are sized when a process starts.
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        self.pipes: list[Any] = []
        self.processes = []
        try:
            for _ in range(number):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, size, precision, threads, tokens), daemon=True
                )
                process.start()
                self.pipes.append(ours)
                self.processes.append(process)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def take(self, steps: int) -> list[float]:
        """All take so many steps at once; returns the seconds of each when the last is done."""
        for pipe in self.pipes:
            pipe.send(steps)
        return [float(pipe.recv()) for pipe in self.pipes]

    def stop(self) -> None:
        """Ends the processes."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(0)
            process.join()


def throughput(
    size: str,
    precision: str,
    rounds: int,
    processes: int,
    seconds: float = SECONDS,
    tokens: int = TOKENS_A_STEP,
) -> Measured:
    """Tokens a second of `processes` one-thread processes over those of one on as many threads.

    Args:
        size: the decoder.
        precision: fp32 or bf16.
        rounds: turns of each side.
        processes: one-thread processes, and threads of the other side's one process.
        seconds: about how long a turn lasts.
        tokens: of a step.
    """
    several = Workers(processes, 1, size, precision, tokens)
    alone = Workers(1, processes, size, precision, tokens)
    try:
        several.take(1)
        steps = _steps(several.take(1), seconds)
        alone.take(2)
        times = interleave(
            {"several": lambda: several.take(steps), "alone": lambda: alone.take(steps)}, rounds
        )
    finally:
        several.stop()
        alone.stop()
    # Where the several have taken `steps` each, the one has taken `steps` alone.
    pairs = zip(times["alone"], times["several"], strict=True)
    return summary([processes * one / all_of_them for one, all_of_them in pairs])


def _steps(seconds_of_one: Sequence[float], seconds: float) -> int:
    return max(1, round(seconds / max(seconds_of_one)))


def measure(plan: Plan) -> list[Row]:
    """A row for two of the bench's sizes."""
    from attnres_eval.bench.ours import default_precision

    rows = []
    for size in SIZES:
        precision = plan.precision or default_precision(bench_shape(size))
        number = cores()
        plan.say(f"throughput: {size}, {number} processes")
        quantity = f"throughput, {number} one-thread processes over one of {number} threads"
        single = number < 2
        rows.append(
            measured_row(
                "throughput",
                quantity,
                size,
                None if single else throughput(size, precision, plan.rounds, number),
                aim=AIM,
                threads=number,
                precision=precision,
                rounds=plan.rounds,
                note="needs two cores" if single else None,
            )
        )
    return rows
