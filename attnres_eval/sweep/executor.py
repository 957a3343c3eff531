"""Who executes jobs: here, this machine's cores, one single-threaded process each.

A small model on one thread each beats one model on all threads, since its matrices are too small
to divide.
"""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from attnres_eval.errors import UNWRITABLE, UserError, cannot_be_written, out_of_memory


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


Attempt = tuple[Any, str | None]
"""A job's value and failure; one of them is None."""


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


KILLED = (
    "its worker process was killed from outside (out of memory?); run the same command again to go"
    " on from its last checkpoint"
)


class LocalExecutor:
    """Workers on the cores of this machine."""

    elsewhere = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def execute(self, jobs: Sequence[Job], tick: Callable[[], None]) -> Iterator[Outcome]:
        """Runs the jobs in their order on the workers.

        A job that raises `UserError`, runs out of memory or takes its worker's life is an outcome
        with a failure; the others go on. Other exceptions are bugs and are raised.
        """
        idle = [_Worker(number) for number in range(min(self.workers, len(jobs)))]
        left = collections.deque(jobs)
        at_work: dict[Future[Attempt], tuple[_Worker, Job]] = {}
        try:
            while left or at_work:
                while left and idle:
                    worker, job = idle.pop(0), left.popleft()
                    at_work[worker.start(job)] = worker, job
                ended, _ = concurrent.futures.wait(
                    at_work, TICK_SECONDS, concurrent.futures.FIRST_COMPLETED
                )
                tick()
                for future in ended:
                    worker, job = at_work.pop(future)
                    try:
                        value, failure = future.result()
                    except BrokenProcessPool:
                        value, failure = None, KILLED
                        worker.renew()
                    idle.append(worker)
                    yield Outcome(job.name, value, failure)
        except BaseException:
            # An interrupted study must not wait for runs that take minutes more.
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            for worker in [*idle, *(worker for worker, _ in at_work.values())]:
                worker.pool.shutdown(wait=not at_work, cancel_futures=True)


class _Worker:
    """A pool of one process: when that dies it is known which job it died of."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.renew()

    def renew(self) -> None:
        """Gets a new process, which starts with its first job."""
        self.pool = concurrent.futures.ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(self.number,),
        )

    def start(self, job: Job) -> Future[Attempt]:
        """Starts a job."""
        with _single_threaded(), _interrupts_held_back():
            return self.pool.submit(attempt, job)


def attempt(job: Job) -> Attempt:
    """Runs a job: its value, or in one line why it has none."""
    try:
        return job.function(*job.arguments), None
    except UserError as error:
        return None, str(error)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return None, cannot_be_written(error.filename or f"a file of {job.name}", error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return None, f"{job.name} ran out of memory"


def default_workers() -> int:
    """One worker an accelerator where there are any, else one a core."""
    import torch

    return torch.cuda.device_count() or cores()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker(number: int) -> None:
    """Gives a worker its thread, and its accelerator where there are any.

    Args:
        number: of the worker, from 0.
    """
    import torch

    torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed study leaves no run behind that goes on writing to its folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes that start meanwhile never see an interrupt, which is the study's to act on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
