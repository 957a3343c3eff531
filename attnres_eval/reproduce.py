"""What stands behind `attnres-eval reproduce`: a study from end to end, part by part."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from attnres_eval.errors import UserError
from attnres_eval.report.build import build_report, export_table
from attnres_eval.study import Study
from attnres_eval.study_file import Source, StudyFile, load_study_file, split_part
from attnres_eval.sweep.choose import check_options, chosen_executor
from attnres_eval.sweep.folder import run_folder
from attnres_eval.sweep.origin import write_origin
from attnres_eval.sweep.parts import claim_parts
from attnres_eval.sweep.run import run_study
from attnres_eval.sweep.storage import Mirror, is_url, results_folder
from attnres_eval.track.tracking import Tracking, tracked, whole_name

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    force: bool = False
    minutes: float | None = None
    """After so many no run begins; what has been trained is scored and reported."""
    workers: int | None = None
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    gpus_per_run: float | None = None
    data_dir: Path | None = None
    tracking: Tracking = field(default_factory=Tracking)


@dataclass(frozen=True)
class Reproduced:
    """What there is to print."""

    table: str
    page: str
    failures: int
    """Runs without a result."""
    left: int
    """Runs that were not begun, since the time was over."""


def reproduce_published(out: str, options: Options, fmt: str) -> Reproduced:
    """Draws the published numbers.

    Raises:
        UserError: `out` cannot be written, or an option is given that only a study heeds.
    """
    _check(options, runs=False)
    from attnres_eval.report.paper import reproduce_paper

    with results_folder(out) as (folder, mirror):
        page = reproduce_paper(folder)
        table = export_table(folder, "multipliers", fmt)
    return Reproduced(table, _place(page, mirror), 0, 0)


def reproduce_study(
    name_or_path: str, out: str, options: Options, fmt: str, say: Say
) -> Reproduced:
    """Trains, scores and reports a study, all of its parts where it has any.

    Raises:
        UserError: the study, the folder or an option is wrong, or data are missing.
    """
    _check(options, runs=True)
    file, source = load_study_file(name_or_path)
    until = None if options.minutes is None else time.time() + 60 * options.minutes
    if len(file.parts) == 1:
        study = next(iter(file.parts.values()))
        project = whole_name(study, split_part(name_or_path)[1])
        return _reproduce(study, source, project, out, options, until, fmt, say)
    if is_url(out):
        first = next(iter(file.parts))
        raise UserError(
            f"study {name_or_path} has parts, which go to a folder; behind a URL give each its own:"
            f" --study {name_or_path}:{first} --out {out}/{first}"
        )
    return _reproduce_parts(file, source, Path(out), options, until, fmt, say)


def _check(options: Options, *, runs: bool) -> None:
    check_options(
        options.executor, options.workers, options.address, options.gpus_per_run, runs=runs
    )
    if options.minutes is not None and not runs:
        raise UserError("--minutes ends the training of a --study; --source paper trains nothing")
    if options.tracking.trackers and not runs:
        raise UserError("--track follows the runs of a --study; --source paper runs nothing")


def _reproduce_parts(
    file: StudyFile,
    source: Source,
    out: Path,
    options: Options,
    until: float | None,
    fmt: str,
    say: Say,
) -> Reproduced:
    first, study = next(iter(file.parts.items()))
    project = whole_name(study, first)
    claim_parts(out, project, list(file.parts), file.headline)
    write_origin(out, source)
    tables, failures, left = [], 0, 0
    for part, study in file.parts.items():
        if until is not None and time.time() > until:
            # Nothing of it would be trained; what it has stays as it is.
            left += sum(not run_folder(out / part, run).finished for run in study.runs())
            continue
        say(f"part {part}")
        own = replace(source, name=f"{source.name}:{part}")
        done = _reproduce(study, own, project, str(out / part), options, until, fmt, say)
        tables.append(f"{part}\n{done.table}")
        failures += done.failures
        left += done.left
    return Reproduced("\n\n".join(tables), _place(build_report(out), None), failures, left)


def _reproduce(
    study: Study,
    source: Source,
    project: str,
    out: str,
    options: Options,
    until: float | None,
    fmt: str,
    say: Say,
) -> Reproduced:
    with results_folder(out) as (folder, mirror):
        shared = folder if mirror is None else None
        try:
            with (
                tracked(options.tracking, folder, study, project, say),
                chosen_executor(
                    options.executor,
                    options.workers,
                    options.address,
                    options.gpus_per_run,
                    shared,
                    say,
                ) as executor,
            ):
                result = run_study(
                    study,
                    folder,
                    executor,
                    source=source,
                    force=options.force,
                    until=until,
                    data_dir=options.data_dir,
                    mirror=mirror,
                    say=say,
                )
        except KeyboardInterrupt:
            say("interrupted: run the same command again to go on")
            raise
        for name, failure in result.failures.items():
            say(f"run {name} has no result: {failure}")
        page = build_report(folder)
        table = export_table(folder, "multipliers", fmt)
    return Reproduced(table, _place(page, mirror), len(result.failures), len(result.left))


def _place(page: Path, mirror: Mirror | None) -> str:
    return str(page) if mirror is None else f"{mirror.url}/{page.name}"
