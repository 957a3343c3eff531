"""What stands behind `attnres-eval evaluate` and `attnres-eval lm-eval`."""

import contextlib
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attnres_eval.evaluate.backend
import attnres_eval.model.hf  # noqa: F401  (registers our models with transformers)
from attnres_eval.errors import UserError
from attnres_eval.evaluate.models import Precision
from attnres_eval.evaluate.run import Backend, evaluate
from attnres_eval.evaluate.suites import suite
from attnres_eval.evaluate.task_code import FLAG, only_trusted_code
from attnres_eval.evaluate.tasks import RUNS_CODE, load_task, task_availability
from attnres_eval.records import QuestionRecord, TaskRecord
from attnres_eval.study import Task
from attnres_eval.study_file import bundled_folder


def evaluate_models(
    models: Sequence[str],
    tasks: Sequence[str] | Mapping[str, Task | None],
    *,
    num_fewshot: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    output_path: Path | None = None,
    data_dir: Path | None = None,
    backend: Backend = "attnres",
    precision: Precision = "fp32",
    confirm_run_unsafe_code: bool = False,
    leave_out: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Scores models on tasks.

    Returns:
        Rows with the keys model, task, n, metric, value, stderr and chance; the last two are
        None where there is none. Of a group, its own rows and those of its subgroups. A
        multiple-choice task also has gold_bits_per_byte, of which a group has the mean over
        its questions.

    Raises:
        UserError: as `attnres_eval.evaluate.run.evaluate` does.
    """
    if not isinstance(tasks, Mapping):
        names = [name.strip() for name in tasks if name.strip()]
        tasks = {name: Task(limit=limit, num_fewshot=num_fewshot) for name in names}
    rows = []
    for model in models:
        records = evaluate(
            model,
            tasks,
            backend=backend,
            num_fewshot=num_fewshot,
            limit=limit,
            batch_size=batch_size,
            data_dir=data_dir,
            output_path=output_path,
            precision=precision,
            progress=sys.stderr.isatty(),
            confirm_run_unsafe_code=confirm_run_unsafe_code,
            leave_out=_naming(model, leave_out),
        )
        inner = {name for record in records for name in record.subtasks} - set(tasks)
        leaves = {record.task: record for record in records if not record.subtasks}
        for record in records:
            if record.task not in inner:
                rows += _rows(model, record, leaves)
    return rows


def evaluate_suite(
    models: Sequence[str],
    name: str,
    say: Callable[[str], None],
    *,
    num_fewshot: int | None = None,
    limit: int | None = None,
    data_dir: Path | None = None,
    confirm_run_unsafe_code: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Scores models on what can be scored of a suite, and says what cannot, a line each.

    Args:
        models: as `evaluate_models` takes them.
        name: of the suite.
        say: called with each line.
        num_fewshot: worked examples of every task, instead of the suite's own numbers.
        limit: questions of each task, the first.
        data_dir: the user's folder of benchmarks.
        confirm_run_unsafe_code: whether tasks may run code that the model writes.
        options: others of `evaluate_models`.

    Returns:
        As `evaluate_models` does.

    Raises:
        UserError: there is no such suite or model, or nothing of the suite can be scored.
    """
    asked: dict[str, Task | None] = {}
    for row in suite(name):
        shots = row.shots if num_fewshot is None else num_fewshot
        found = task_availability(row.task, shots, data_dir, row.modules)
        if found.runs_code and not confirm_run_unsafe_code:
            say(f"{row.title} is left out: task {row.task} {RUNS_CODE}")
        elif found.where == "missing":
            say(f"{row.title} is missing: task {row.task}: {found.lacks}")
        else:
            try:
                load_task(row.task, shots, data_dir, allow_code=confirm_run_unsafe_code)
            except UserError as error:
                say(f"{row.title} is missing: {error}")
            else:
                asked[row.task] = Task(limit=limit, num_fewshot=shots)
    rows = []
    if asked:
        rows = evaluate_models(
            models,
            asked,
            data_dir=data_dir,
            confirm_run_unsafe_code=confirm_run_unsafe_code,
            leave_out=say,
            **options,
        )
    if not rows:
        raise UserError(f"suite {name}: nothing of it can be scored here; the lines above say why")
    return rows


def _naming(model: str, leave_out: Callable[[str], None] | None) -> Callable[[str], None] | None:
    if leave_out is None:
        return None
    return lambda line: leave_out(f"{model} is not scored: {line}")


def _rows(model: str, record: TaskRecord, leaves: Mapping[str, TaskRecord]) -> list[dict[str, Any]]:
    rows = []
    common = {"model": model, "task": record.task, "n": record.n_questions}
    for key, value in record.metrics.items():
        metric, comma, filtered = key.partition(",")
        if not metric.endswith("_stderr"):
            stderr = record.metrics.get(f"{metric}_stderr{comma}{filtered}")
            chance = record.chance if metric.startswith("acc") else None
            rows.append(
                common | {"metric": key, "value": value, "stderr": stderr, "chance": chance}
            )
    members = [leaves[name] for name in record.subtasks] or [record]
    bits = _gold_bits_per_byte([question for member in members for question in member.questions])
    if bits is not None:
        metric, value, stderr = "gold_bits_per_byte", *bits
        rows.append(common | {"metric": metric, "value": value, "stderr": stderr, "chance": None})
    return rows


def _gold_bits_per_byte(questions: Sequence[Any]) -> tuple[float, float | None] | None:
    """Mean over questions, and its standard error; None where a question has no single choice."""
    values = [
        -question.log_likelihoods[question.gold]
        / math.log(2)
        / question.byte_lengths[question.gold]
        for question in questions
        if isinstance(question, QuestionRecord) and question.byte_lengths[question.gold]
    ]
    if not values or len(values) < len(questions):
        return None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Runs lm-eval's own command with our models, our backend and our tasks registered.

    Args:
        arguments: as on its command line, such as `run --model attnres --model_args
            pretrained=FOLDER --tasks arc_easy`; and `--trust-task-code`, by which tasks of other
            folders than lm-eval's and ours may run code of their own.

    Raises:
        UserError: such a task has code, and the flag is not given.
    """
    from lm_eval.__main__ import cli_evaluate

    ours = bundled_folder("tasks")
    before = sys.argv
    trust = FLAG in arguments
    arguments = [argument for argument in arguments if argument != FLAG]
    sys.argv = ["lm-eval", *arguments]
    if "--tasks" in arguments and "--include_path" not in arguments and any(ours.glob("**/*.yaml")):
        sys.argv += ["--include_path", str(ours)]
    try:
        with contextlib.nullcontext() if trust else only_trusted_code():
            cli_evaluate()
    finally:
        sys.argv = before
