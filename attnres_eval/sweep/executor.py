"""Who executes jobs: here, this machine's cores, one single-threaded process each.

A small model on one thread each beats one model on all threads, since its matrices are too small
to divide.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from attnres_eval.errors import UserError


@dataclass(frozen=True)
class Job:
    """A picklable function with its arguments, and a name to report it by."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    alone: bool = False
    """Whether nothing may run beside it on its machine."""


@dataclass(frozen=True)
class Outcome:
    """A job's end: its value, or in one line why it has none."""

    name: str
    value: Any = None
    failure: str | None = None


class Executor(Protocol):
    """Runs jobs in any order and yields their outcomes as they end."""

    elsewhere: bool
    """Whether jobs run on other machines than this one."""

    def execute(self, jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        """Runs all jobs; calls `tick` a few times a second while waiting."""


TICK_SECONDS = 0.5
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


class LocalExecutor:
    """Workers on the cores of this machine."""

    elsewhere = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def execute(self, jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        """Runs the jobs in their order on the workers.

        A job that raises `UserError`, or runs out of memory, is an outcome with a failure; the
        others go on. Other exceptions are bugs and are raised.

        Raises:
            UserError: a worker died; what had finished is kept.
        """
        if not jobs:
            return
        context = multiprocessing.get_context("spawn")
        with _single_threaded():
            pool = concurrent.futures.ProcessPoolExecutor(
                max_workers=min(self.workers, len(jobs)),
                mp_context=context,
                initializer=_start_worker,
                initargs=(context.Value("i", 0),),
            )
            try:
                names = {pool.submit(attempt, job): job.name for job in jobs}
                pending = set(names)
                while pending:
                    ended, pending = concurrent.futures.wait(
                        pending, TICK_SECONDS, concurrent.futures.FIRST_COMPLETED
                    )
                    tick()
                    for future in ended:
                        value, failure = future.result()
                        yield Outcome(names[future], value, failure)
                pool.shutdown()
            except BaseException as error:
                # An interrupted study must not wait for runs that take minutes more.
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                if isinstance(error, BrokenProcessPool):
                    raise UserError(
                        "a worker process was killed from outside (out of memory?);"
                        " run the same command again to go on from the last checkpoints"
                    ) from None
                raise


def attempt(job: Job) -> tuple[Any, str | None]:
    """Runs a job: its value, or in one line why it has none."""
    try:
        return job.function(*job.arguments), None
    except UserError as error:
        return None, str(error)
    except MemoryError:
        return None, f"{job.name} ran out of memory"


def default_workers() -> int:
    """One worker an accelerator where there are any, else one a core."""
    import torch

    return torch.cuda.device_count() or cores()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker(started: Any) -> None:
    """Gives a worker its thread, and its accelerator where there are any.

    Args:
        started: a shared counter of the workers started so far.
    """
    import torch

    torch.set_num_threads(1)
    if torch.cuda.is_available():
        with started.get_lock():
            torch.cuda.set_device(started.value % torch.cuda.device_count())
            started.value += 1
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed study leaves no run behind that goes on writing to its folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Worker processes take their thread counts from the environment when they start."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
