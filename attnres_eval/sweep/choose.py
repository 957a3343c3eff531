"""Which executor the command line asks for."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from attnres_eval.errors import UserError
from attnres_eval.sweep.executor import Executor, LocalExecutor, default_workers
from attnres_eval.sweep.ray_executor import RayExecutor


@contextlib.contextmanager
def chosen_executor(
    kind: Literal["local", "ray"],
    workers: int | None,
    address: str | None,
    gpus_per_run: float | None,
    shared: Path | None,
    say: Callable[[str], None],
) -> Iterator[Executor]:
    """Opens an executor, of which `check_options` has approved.

    Args:
        kind: `local` or `ray`.
        workers: processes of the local one.
        address: of a Ray cluster.
        gpus_per_run: what a run asks Ray for.
        shared: a folder that all of Ray's nodes must see; None where results lie behind a URL.
        say: told in a line what Ray has.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    if kind == "local":
        yield LocalExecutor(workers or default_workers())
        return
    with RayExecutor(address, gpus_per_run, shared) as executor:
        say(str(executor))
        yield executor


def check_options(
    kind: str,
    workers: int | None,
    address: str | None,
    gpus_per_run: float | None,
    *,
    runs: bool,
) -> None:
    """Refuses options that would not be heeded.

    Args:
        kind: as in `chosen_executor`.
        workers: the same.
        address: the same.
        gpus_per_run: the same.
        runs: whether there is anything to run.

    Raises:
        UserError: there is one, or a number of GPUs that a run cannot use.
    """
    if kind == "ray" and not runs:
        raise UserError("--executor ray runs a --study; --source paper runs nothing")
    rays = {"--address": address, "--gpus-per-run": gpus_per_run}
    given = [name for name, value in rays.items() if value is not None]
    if kind == "local" and given:
        raise UserError(f"{given[0]} is an option of --executor ray, which is not given")
    if kind == "ray" and workers is not None:
        raise UserError(
            "--workers is an option of --executor local; Ray runs as many as its nodes hold"
        )
    if gpus_per_run is not None and gpus_per_run > 1:
        raise UserError(
            f"--gpus-per-run {gpus_per_run:g}: a run of a study trains on one GPU; give 1, or a"
            " part such as 0.5 for runs that share one"
        )
