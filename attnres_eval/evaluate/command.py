"""What stands behind `attnres-eval evaluate` and `attnres-eval lm-eval`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attnres_eval.evaluate.backend
import attnres_eval.model.hf  # noqa: F401  (registers our models with transformers)
from attnres_eval.evaluate.models import Precision
from attnres_eval.evaluate.run import Backend, evaluate
from attnres_eval.records import TaskRecord
from attnres_eval.study import bundled_folder


def evaluate_models(
    models: Sequence[str],
    tasks: Sequence[str],
    *,
    num_fewshot: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    output_path: Path | None = None,
    data_dir: Path | None = None,
    backend: Backend = "attnres",
    precision: Precision = "fp32",
) -> list[dict[str, Any]]:
    """Scores models on tasks.

    Returns:
        Rows with the keys model, task, n, metric, value, stderr and chance; the last two are
        None where there is none. Of a group, its own rows and those of its subgroups.

    Raises:
        UserError: as `attnres_eval.evaluate.run.evaluate` does.
    """
    names = list(dict.fromkeys(name.strip() for name in tasks if name.strip()))
    rows = []
    for model in models:
        records = evaluate(
            model,
            names,
            backend=backend,
            num_fewshot=num_fewshot,
            limit=limit,
            batch_size=batch_size,
            data_dir=data_dir,
            output_path=output_path,
            precision=precision,
            progress=sys.stderr.isatty(),
        )
        inner = {name for record in records for name in record.subtasks} - set(names)
        for record in records:
            if record.task not in inner:
                rows += _rows(model, record)
    return rows


def _rows(model: str, record: TaskRecord) -> list[dict[str, Any]]:
    rows = []
    for key, value in record.metrics.items():
        metric, comma, filtered = key.partition(",")
        if not metric.endswith("_stderr"):
            rows.append(
                {
                    "model": model,
                    "task": record.task,
                    "n": record.n_questions,
                    "metric": key,
                    "value": value,
                    "stderr": record.metrics.get(f"{metric}_stderr{comma}{filtered}"),
                    "chance": record.chance if metric.startswith("acc") else None,
                }
            )
    return rows


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Runs lm-eval's own command with our models, our backend and our tasks registered.

    Args:
        arguments: as on its command line, such as `run --model attnres --model_args
            pretrained=FOLDER --tasks arc_easy`.
    """
    from lm_eval.__main__ import cli_evaluate

    ours = bundled_folder("tasks")
    before = sys.argv
    sys.argv = ["lm-eval", *arguments]
    if "--tasks" in arguments and "--include_path" not in arguments and any(ours.glob("**/*.yaml")):
        sys.argv += ["--include_path", str(ours)]
    try:
        cli_evaluate()
    finally:
        sys.argv = before
