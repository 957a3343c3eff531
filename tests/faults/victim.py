"""A study that writes down every step it trains, and may kill itself around a write.

`python victim.py ARGUMENTS` is the command line so prepared. Worker processes import this file as
their main module, and so are prepared as well. It is told what to do by two variables of the
environment: `VICTIM_TRACE`, the file to which the steps are added; and `VICTIM_DIES`, for example
`worker:7`: such a process is killed around the seventh time that it gives a file its final name.
"""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import attnres_eval.sweep.jobs
from attnres_eval.data.batches import Batches
from attnres_eval.sweep.run import run_study


def say(line: str) -> None:
    """Adds a line to the trace in one piece, whoever else writes to it."""
    trace = os.open(os.environ["VICTIM_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trace, f"{os.getpid()} {line}\n".encode())
    os.close(trace)


def trace_steps() -> None:
    """Every batch that is trained on is a line: process, run, step."""
    run = ""
    train, batch = attnres_eval.sweep.jobs.train, Batches.batch

    def traced_train(config: Any, *arguments: Any) -> Any:
        nonlocal run
        run = config.run
        return train(config, *arguments)

    def traced_batch(self: Batches, step: int) -> Any:
        say(f"{run} {step}")
        return batch(self, step)

    attnres_eval.sweep.jobs.train = traced_train
    Batches.batch = traced_batch  # type: ignore[method-assign]


def die_around_a_write(number: int) -> None:
    """Kills this process before it gives a file its final name for the nth time; or after that.

    An odd number dies before, an even one after.
    """
    count = 0

    def around(function: Any) -> Any:
        def dying(self: Path, target: Path) -> Any:
            nonlocal count
            count += 1
            if count == number and number % 2:
                say("dies")
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(self, target)
            if count == number:
                say("dies")
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return dying

    Path.replace, Path.rename = around(Path.replace), around(Path.rename)  # type: ignore


def prepare_this_process() -> None:
    trace_steps()
    role = "worker" if multiprocessing.parent_process() else "controller"
    whose, _, number = os.environ.get("VICTIM_DIES", "").partition(":")
    if whose == role:
        die_around_a_write(int(number))


def run_here(study: Any, results: Path, executor: Any, trace: Path, dies_at: int | None) -> None:
    """A whole study in one process that dies; the target of a process that is forked."""
    os.environ["VICTIM_TRACE"] = str(trace)
    trace_steps()
    if dies_at is not None:
        die_around_a_write(dies_at)
    run_study(study, results, executor, say=lambda line: None)


if __name__ in ("__main__", "__mp_main__"):
    prepare_this_process()

if __name__ == "__main__":
    from attnres_eval.cli import main

    main()
