"""From a results folder's records to frames. A run without a result is a row without numbers."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnres_eval.cost import PFLOPS_DAY, Cost
from attnres_eval.errors import UserError
from attnres_eval.records import (
    Calibration,
    Failure,
    InspectionRecord,
    Machine,
    Metrics,
    RunFolder,
    Summary,
    TaskRecord,
    check_files,
    read_record,
    read_records,
    read_sealed,
)
from attnres_eval.study import RunConfig, Study
from attnres_eval.sweep.folder import read_calibration, read_study

STEPS = re.compile(r"^reasoning_(?P<family>.+)_k(?P<steps>\d+)(?:_gen)?$")
"""Names of tasks of which each has its own number of reasoning steps."""


@dataclass(frozen=True)
class Results:
    """What a results folder says."""

    study: Study
    runs: pd.DataFrame
    """One row a planned run, in the study's order; columns as `run_row` lists them."""
    curves: pd.DataFrame
    """Training metrics of all runs: run, label, size, seed and the fields of Metrics."""
    tasks: dict[str, list[TaskRecord]]
    """Task records by run. A group stands for its tasks, with all their questions."""
    machines: dict[str, Machine]
    """Where each finished run ran."""
    inspections: dict[str, InspectionRecord]
    """By run, of the finished runs that were inspected."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a run has no result, or not all of it, by run; none where that is not recorded."""
    calibration: Calibration | None = None
    """Step times on one machine; None where they were not calibrated."""

    @property
    def finished(self) -> pd.DataFrame:
        """The runs that have a result."""
        return self.runs[self.runs["finished"]]


def collect(path: Path) -> Results:
    """Reads every record of a results folder.

    Raises:
        UserError: there is no such folder, it holds no study, a record is damaged or belongs to
            another study, or no run has finished.
    """
    study = read_study(path)
    rows, curves = [], []
    tasks: dict[str, list[TaskRecord]] = {}
    machines, inspections, failures = {}, {}, {}
    for config in study.runs():
        folder = RunFolder(path / "runs" / config.run)
        _check_config(folder, config)
        if folder.failure.is_file():
            failures[config.run] = read_record(folder.failure, Failure).reason
        summary = read_record(folder.summary, Summary) if folder.finished else None
        cost = config.cost() if summary is None else _read_cost(folder.cost)
        rows.append(run_row(config, cost, summary))
        if summary is not None:
            check_files(folder, summary, folder.metrics)
        if folder.metrics.is_file() and summary is not None:
            curves += [_metrics_row(config, line) for line in read_records(folder.metrics, Metrics)]
        if summary is not None:
            machines[config.run] = summary.machine
            files = sorted(folder.evaluation.glob("*.json"))
            records = [read_record(file, TaskRecord) for file in files]
            tasks[config.run] = pool_groups(records)
            if folder.inspection.is_file():
                inspections[config.run] = read_record(folder.inspection, InspectionRecord)
    if not machines:
        raise UserError(f"{path} holds no finished run; run the study first")
    runs = pd.DataFrame(rows)
    hashes = runs["data_sha256"].dropna().unique()
    if len(hashes) > 1:
        raise UserError(
            f"the runs of {path} were trained on {len(hashes)} different sets of token files, so"
            " their losses cannot be compared; delete the older runs and run the study again"
        )
    return Results(
        study=study,
        runs=runs,
        curves=pd.DataFrame(curves),
        tasks=tasks,
        machines=machines,
        inspections=inspections,
        failures=failures,
        calibration=read_calibration(path, study),
    )


def _check_config(folder: RunFolder, config: RunConfig) -> None:
    if not folder.config.is_file():
        if folder.finished:
            raise UserError(f"{folder.config} is missing; delete the run's folder and run again")
        return
    # As a RunConfig: a key that a later version added has its default in older records.
    if read_record(folder.config, RunConfig) != config:
        raise UserError(
            f"{folder.config} is not a run of this folder's study.json; delete the run's folder"
            " and run the study again"
        )


def pool_groups(records: list[TaskRecord]) -> list[TaskRecord]:
    """Puts the largest groups in the place of their tasks.

    A group's record comes without questions; here it gets those of all its tasks, each task (an
    MMLU subject, say) a cluster. Groups inside a larger group are left out, as are tasks inside a
    group. A group of tasks that differ in their number of steps is no score: its tasks stay.
    """
    records = [
        record for record in records if not any(STEPS.match(task) for task in record.subtasks)
    ]
    by_name = {record.task: record for record in records}
    groups = [record for record in records if record.subtasks]
    largest = [
        group
        for group in groups
        if not any(set(group.subtasks) < set(other.subtasks) for other in groups)
    ]
    inside = {task for group in largest for task in group.subtasks}
    pooled = [record for record in records if not record.subtasks and record.task not in inside]
    for group in largest:
        members = [by_name[task] for task in group.subtasks if task in by_name]
        questions = [
            question.model_copy(update={"cluster": member.task})
            for member in members
            for question in member.questions
        ]
        pooled.append(group.model_copy(update={"questions": questions}))
    return sorted(pooled, key=lambda record: _natural(record.task))


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that puts 4 steps before 12: text and the number behind it, in turn."""
    parts = re.split(r"(\d+)", name)
    return [(text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], 0], strict=True)]


def _read_cost(path: Path) -> Cost:
    """What the run wrote down: a later release may count otherwise."""
    values = read_sealed(path)
    try:
        cost = Cost(**values)
    except TypeError as error:
        raise UserError(f"{path} is no Cost ({error}); delete the run and run again") from None
    sane = all(isinstance(v, int | float) and 0 <= v < math.inf for v in values.values())
    if not sane or cost.matrix_parameters == 0:
        raise UserError(f"{path} is no Cost (its counts are not); delete the run and run again")
    return cost


def run_row(config: RunConfig, cost: Cost, summary: Summary | None) -> dict[str, Any]:
    """One run as a row. Without a summary every measured number is missing.

    `flops_6nd` is 6 x matrix parameters x tokens, the common short form of `flops`, which counts
    attention and the residual too (`attnres_eval.cost`).
    """
    flops = config.training_flops if summary is None else summary.flops
    row: dict[str, Any] = {
        "run": config.run,
        "label": config.label,
        "variant": config.variant,
        "size": config.size,
        "seed": config.seed,
        "finished": summary is not None,
        "d_model": config.shape.d_model,
        "n_layers": config.shape.n_layers,
        "parameters": cost.parameters,
        "matrix_parameters": cost.matrix_parameters,
        "tokens": config.tokens,
        "tokens_per_parameter": config.tokens / cost.matrix_parameters,
        "flops": flops,
        "pflops_days": flops / PFLOPS_DAY,
        "flops_6nd": 6.0 * cost.matrix_parameters * config.tokens,
        "traffic_elements_per_token": cost.residual_traffic_elements_per_token,
    }
    measured = {
        "loss": "validation_nats_per_token",
        "bits_per_byte": "validation_bits_per_byte",
        "seconds": "seconds",
        "tokens_per_second": "tokens_per_second",
        "peak_memory_bytes": "peak_memory_bytes",
    }
    for column, name in measured.items():
        row[column] = np.nan if summary is None else float(getattr(summary, name))
    row["data_sha256"] = None if summary is None else summary.data_sha256
    return row


def _metrics_row(config: RunConfig, line: Metrics) -> dict[str, Any]:
    return {
        "run": config.run,
        "label": config.label,
        "size": config.size,
        "seed": config.seed,
        **line.model_dump(),
    }
