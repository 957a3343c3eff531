"""Runs a study: prepares its data, trains, calibrates, scores and inspects what has not been."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from attnres_eval.data.prepare import Progress, prepare
from attnres_eval.errors import UserError
from attnres_eval.files import writing
from attnres_eval.lock import holding
from attnres_eval.records import Failure, RunFolder, Summary, read_record, write_record
from attnres_eval.study import RunConfig, Study, Task
from attnres_eval.study_file import Source
from attnres_eval.sweep.calibration import calibrate_alone, calibration_left
from attnres_eval.sweep.executor import Executor, Job
from attnres_eval.sweep.folder import claim, run_folder
from attnres_eval.sweep.jobs import (
    evaluate_run,
    inspect_job,
    inspection_left,
    run_job,
    tasks_left,
    train_run,
)
from attnres_eval.sweep.origin import write_origin
from attnres_eval.sweep.progress import StudyProgress
from attnres_eval.sweep.storage import Mirror

REFRESH_SECONDS = 20.0
REFRESH_SHARE = 20
"""Metrics behind a URL are fetched this often, or rarer where it takes over a part in this many."""


@dataclass
class StudyResult:
    """What a call of `run_study` did."""

    trained: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    inspected: list[str] = field(default_factory=list)
    calibrated: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    """Runs that have no result, and in one line why; so for `calibration`."""
    left: list[str] = field(default_factory=list)
    """Runs that were not begun, since the time was over."""


def run_study(
    study: Study,
    results: Path,
    executor: Executor,
    *,
    source: Source | None = None,
    force: bool = False,
    until: float | None = None,
    data_dir: Path | None = None,
    mirror: Mirror | None = None,
    say: Progress = print,
) -> StudyResult:
    """Brings a results folder to the state that the study asks for.

    Args:
        study: what to run.
        results: its folder; finished runs in it are kept.
        executor: who runs the jobs.
        source: where the study comes from, to be written down in the folder.
        force: take over a folder whose study differs.
        until: when training ends, in seconds since the epoch: no run begins later, and those that
            have finished are scored. The runs then go in the study's order, so that those that are
            compared are trained together.
        data_dir: folder of benchmarks that neither package nor hub has.
        mirror: what `results` mirrors, where it is not the results' own folder.
        say: told what happens, a line at a time.

    Raises:
        UserError: another process works in the folder, it is another study's or cannot be
            written, data are missing or are not those of its finished runs, or what the folder
            mirrors cannot be read or written.
    """
    with holding(results):
        claim(results, study, force)
        if source is not None:
            write_origin(results, source)
        return _bring_up(study, results, executor, until, data_dir, mirror, say)


def _bring_up(
    study: Study,
    results: Path,
    executor: Executor,
    until: float | None,
    data_dir: Path | None,
    mirror: Mirror | None,
    say: Progress,
) -> StudyResult:
    if mirror is not None:
        mirror.push()
    url = None if mirror is None else mirror.url
    result = StudyResult()
    runs = study.runs()
    todo = [run for run in runs if not run_folder(results, run).finished]
    if todo:
        say(f"{len(todo)} of {len(runs)} runs to train")
        data = prepare(study.data, progress=say).manifest.data_sha256
        _check_data(results, runs, data)
        jobs = [run_job(results, url, run, train_run, run, data, until) for run in todo]
        _execute(executor, results, mirror, todo, jobs, result, in_order=until is not None)
        result.trained = [run.run for run in todo if run_folder(results, run).finished]
        ended = {*result.trained, *result.failures}
        result.left = [run.run for run in todo if run.run not in ended]

    trained = any(run_folder(results, run).finished for run in runs)
    # A study in shards is timed by its last one.
    wanted = trained and not result.left and study.evaluation.calibration_rounds > 0
    if wanted and calibration_left(study, results, elsewhere=executor.elsewhere):
        say("timing training steps side by side, with nothing beside them")
        failure = calibrate_alone(study, results, executor)
        result.calibrated = failure is None
        if failure is not None:
            result.failures["calibration"] = failure
        if mirror is not None:
            mirror.push()

    tasks = {name: task or Task() for name, task in study.evaluation.tasks.items()}
    jobs, scored = [], []
    for run in runs:
        folder = run_folder(results, run)
        if run.size in study.evaluated_sizes() and folder.finished:
            left = tasks_left(folder, tasks)
            if left:
                scored.append(run)
                batch_size = study.evaluation.batch_size
                jobs.append(run_job(results, url, run, evaluate_run, left, batch_size, data_dir))
    if jobs:
        say(f"{len(jobs)} checkpoints to score on {len(tasks)} tasks")
        _execute(executor, results, mirror, scored, jobs, result)
        result.scored = [run.run for run in scored if run.run not in result.failures]

    inspected = _to_inspect(study, results)
    if inspected:
        say(f"{len(inspected)} checkpoints to inspect")
        tokens = study.evaluation.inspection_tokens
        jobs = [run_job(results, url, run, inspect_job, tokens) for run in inspected]
        _execute(executor, results, mirror, inspected, jobs, result)
        result.inspected = [run.run for run in inspected if run.run not in result.failures]
    return result


def _to_inspect(study: Study, results: Path) -> list[RunConfig]:
    """The finished runs of the largest size that have no inspection yet."""
    tokens = study.evaluation.inspection_tokens
    return [
        run
        for run in study.runs()
        if tokens and run.size == study.largest_size
        if (folder := run_folder(results, run)).finished and inspection_left(folder, tokens)
    ]


def _check_data(results: Path, runs: list[RunConfig], data_sha256: str) -> None:
    """Refuses to train more runs on other data than those of the finished ones."""
    for run in runs:
        folder = run_folder(results, run)
        if folder.finished and read_record(folder.summary, Summary).data_sha256 != data_sha256:
            raise UserError(
                f"{folder.path} was trained on other data than the corpora give now, so that no"
                " run could be compared with it; put the corpora back, or begin a new folder"
            )


def _execute(
    executor: Executor,
    results: Path,
    mirror: Mirror | None,
    runs: list[RunConfig],
    jobs: list[Job],
    result: StudyResult,
    *,
    in_order: bool = False,
) -> None:
    """Runs the jobs; unless `in_order`, longest run first, so that no core idles at the end."""
    flops = {run.run: run.training_flops for run in runs}
    if not in_order:
        jobs = sorted(jobs, key=lambda job: -flops[job.name])
    for run in runs:
        with writing(run_folder(results, run).failure):
            run_folder(results, run).failure.unlink(missing_ok=True)
    with StudyProgress(results, runs) as progress:
        tick = progress.update if mirror is None else _refreshing(mirror, progress.update)
        for outcome in executor.execute(jobs, tick):
            if mirror is not None:
                mirror.pull(f"runs/{outcome.name}")
            if outcome.failure is not None or RunFolder(results / "runs" / outcome.name).finished:
                progress.ended(outcome.name)
            if outcome.failure is not None:
                result.failures[outcome.name] = outcome.failure
                # For the report. Where the disk is full there is room for it in memory alone.
                with contextlib.suppress(UserError):
                    path = results / "runs" / outcome.name
                    write_record(RunFolder(path).failure, Failure(reason=outcome.failure))


def _refreshing(mirror: Mirror, update: Callable[[], None]) -> Callable[[], None]:
    """A tick that has the metrics of runs at work fetched now and then, for the display."""
    due = time.monotonic() + REFRESH_SECONDS

    def tick() -> None:
        nonlocal due
        start = time.monotonic()
        if start >= due:
            with contextlib.suppress(UserError):
                mirror.pull("runs", "metrics.jsonl")
            now = time.monotonic()
            due = now + max(REFRESH_SECONDS, REFRESH_SHARE * (now - start))
        update()

    return tick
