"""What a worker does for a study: train a run, score a run, inspect a run."""

from pathlib import Path

from attnres_eval.data.prepare import prepare
from attnres_eval.errors import UserError
from attnres_eval.evaluate.run import evaluate
from attnres_eval.files import sha256_of_file
from attnres_eval.inspection.run import inspect_run
from attnres_eval.records import InspectionRecord, RunFolder, TaskRecord, read_record, task_file
from attnres_eval.study import RunConfig, Task
from attnres_eval.train.loop import train


def train_run(config: RunConfig, folder: Path) -> None:
    """Trains one run, or continues it."""
    train(config, RunFolder(folder), prepare(config.data))


def evaluate_run(
    folder: Path, tasks: dict[str, Task], batch_size: int, data_dir: Path | None
) -> None:
    """Scores one run's checkpoint on the tasks and writes a record for each."""
    run = RunFolder(folder)
    evaluate(
        run.checkpoint,
        tasks,
        batch_size=batch_size,
        data_dir=data_dir,
        records=run.evaluation,
    )


def inspect_job(folder: Path, tokens: int) -> None:
    """Inspects one run's checkpoint and writes its record."""
    inspect_run(RunFolder(folder), tokens)


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
