"""What a worker does for a study: train a run, score a run, inspect a run."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.evaluate.run import evaluate
from attnres_eval.files import drop_leftovers, sha256_of_file
from attnres_eval.inspection.run import inspect_run
from attnres_eval.lock import DEAD_AFTER, holding
from attnres_eval.records import (
    InspectionRecord,
    RunFolder,
    Summary,
    TaskRecord,
    check_files,
    read_record,
    task_file,
)
from attnres_eval.study import RunConfig, Task
from attnres_eval.sweep.executor import Job
from attnres_eval.sweep.folder import run_folder
from attnres_eval.sweep.storage import run_mirror
from attnres_eval.train.loop import train

ORPHAN_SECONDS = DEAD_AFTER + 15.0
"""What a worker of a study that was killed just now is given to end, which it does by itself, or
one on a machine that died to count as dead."""

Saved = Callable[[], None]
"""To be called when the files of a run are worth keeping; they are anyway at a job's end."""


def run_job(
    results: Path, url: str | None, run: RunConfig, work: Callable[..., None], *arguments: Any
) -> Job:
    """A job on the files of one run.

    Args:
        results: the results folder.
        url: where its files really lie, if not in that folder.
        run: whose files.
        work: `work(folder, saved, *arguments)` does the job in the run's folder or a copy of it.
        arguments: its other arguments.
    """
    if url is None:
        return Job(run.run, in_folder, (run_folder(results, run).path, work, arguments))
    return Job(run.run, _in_mirror, (url, run.run, work, arguments))


def in_folder(folder: Path, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Does a run's work in its own folder, which nobody else works in meanwhile."""
    with alone_in(folder) as run:
        work(run, lambda: None, *arguments)


def _in_mirror(url: str, run: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    with run_mirror(url, run) as mirror:
        work(RunFolder(mirror.folder), mirror.push, *arguments)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[RunFolder]:
    """Holds a run's folder, cleared of what a killed process left half-written."""
    with holding(folder, ORPHAN_SECONDS):
        drop_leftovers(folder)
        yield RunFolder(folder)


def train_run(
    folder: RunFolder,
    saved: Saved,
    config: RunConfig,
    data_sha256: str | None = None,
    until: float | None = None,
) -> None:
    """Trains one run, or continues it.

    Args:
        folder: where its files go.
        saved: called behind each checkpoint.
        config: the run.
        data_sha256: of the data that the study began with; not looked at where None.
        until: in seconds since the epoch; after it nothing is begun.

    Raises:
        UserError: as `train` does, or a corpus has changed since the study began.
    """

    def progress(done: int) -> None:
        if done % config.recipe.checkpoint_every == 0 and done < config.steps:
            saved()

    if until is not None and time.time() > until:
        return
    data = prepare(config.data)
    if data_sha256 not in (None, data.manifest.data_sha256):
        raise UserError(
            f"the corpora of run {config.run} have changed since the study began: its models could"
            " not be compared; put them back, or begin a new results folder"
        )
    train(config, folder, data, progress)


def evaluate_run(
    folder: RunFolder,
    saved: Saved,
    tasks: dict[str, Task],
    batch_size: int,
    data_dir: Path | None,
) -> None:
    """Scores one run's checkpoint on the tasks and writes a record for each."""
    check_checkpoint(folder)
    evaluate(
        folder.checkpoint,
        tasks,
        batch_size=batch_size,
        data_dir=data_dir,
        records=folder.evaluation,
    )


def inspect_job(folder: RunFolder, saved: Saved, tokens: int) -> None:
    """Inspects one run's checkpoint and writes its record."""
    check_checkpoint(folder)
    inspect_run(folder, tokens)


def check_checkpoint(run: RunFolder) -> None:
    """Checks a finished run's checkpoint against its summary, where there is one.

    Raises:
        UserError: a file of the checkpoint, or the summary, has changed since the run ended.
    """
    if run.finished:
        check_files(run, read_record(run.summary, Summary), run.checkpoint)


def inspection_left(folder: RunFolder, tokens: int) -> bool:
    """Whether no record of this checkpoint and this number of tokens is there."""
    try:
        record = read_record(folder.inspection, InspectionRecord)
    except UserError:
        return True
    return record.limit != tokens or _model_sha256(folder) not in (None, record.model_sha256)


def tasks_left(folder: RunFolder, tasks: dict[str, Task]) -> dict[str, Task]:
    """The tasks of which no record of this checkpoint and these limits is there."""
    model = _model_sha256(folder)
    return {
        name: task
        for name, task in tasks.items()
        if not _is_scored(task_file(folder.evaluation, name), task, model)
    }


def _is_scored(path: Path, task: Task, model: str | None) -> bool:
    try:
        record = read_record(path, TaskRecord)
    except UserError:
        return False
    fewshot = task.num_fewshot is None or task.num_fewshot == record.num_fewshot
    return fewshot and record.limit == task.limit and model in (None, record.model_sha256)


def _model_sha256(folder: RunFolder) -> str | None:
    """Hash of a run's weights.

    They may be gone where only records are kept; a record then speaks for itself.
    """
    weights = folder.checkpoint / "model.safetensors"
    return sha256_of_file(weights) if weights.is_file() else None
