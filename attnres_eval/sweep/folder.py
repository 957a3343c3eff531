"""A results folder belongs to one study, as that study was when it began."""

import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attnres_eval.errors import UserError
from attnres_eval.lock import HOLDER, LOCK
from attnres_eval.records import (
    Calibration,
    RunFolder,
    calibration_file,
    read_record,
    run_folders,
    write_record,
)
from attnres_eval.study import RunConfig, Study


def run_folder(results: Path, run: RunConfig) -> RunFolder:
    """Where a run's files are."""
    return RunFolder(results / "runs" / run.run)


def read_study(results: Path) -> Study:
    """The study of a results folder.

    Raises:
        UserError: no such folder, no study in it, or a damaged one.
    """
    if not results.is_dir():
        raise UserError(f"there is no results folder {results}")
    if not (results / "study.json").is_file():
        raise UserError(f"{results} is no results folder of a study: it has no study.json")
    return read_record(results / "study.json", Study)


def read_calibration(results: Path, study: Study) -> Calibration | None:
    """The calibration of a results folder; None where its times were not calibrated.

    Raises:
        UserError: damaged, or of a study whose steps may take another time.
    """
    path = calibration_file(results)
    if not path.is_file():
        return None
    record = read_record(path, Calibration)
    try:
        # As a Study: a key that a later version added has its default in older records.
        timed = Study.model_validate(record.study)
    except ValidationError:
        timed = None
    cells = sorted((pair.size, pair.label) for pair in record.pairs)
    wanted = sorted((size, label) for size in study.sizes for label in study.variants)
    if timed is None or timed.step_key() != study.step_key() or cells != wanted:
        raise UserError(
            f"{path} is not of this folder's study.json; measure again with"
            f" `attnres-eval calibrate {results}`, or delete it"
        )
    return record


def claim(results: Path, study: Study, force: bool) -> None:
    """Makes `results` the folder of `study`.

    Args:
        results: new, empty, or already of this study.
        study: what is to be run.
        force: take the folder over although its study differs. Runs that the new study has
            unchanged are kept, as is a calibration; all others are deleted.

    Raises:
        UserError: the folder belongs to another study, or to none and is not empty.
    """
    wanted = study.model_dump(mode="json")
    record = results / "study.json"
    if record.is_file():
        # As a Study: a key that a later version added has its default in older records.
        found = read_record(record, Study).model_dump(mode="json")
        if found == wanted:
            return
        # No run depends on the words that describe a study.
        differ = differences({**found, "description": wanted["description"]}, wanted)
        if differ and not force:
            changes = "; ".join(differ[:5])
            raise UserError(
                f"{results} holds another study ({changes}); give another --out, or --force to"
                " delete the runs that differ"
            )
        if differ:
            _drop_changed_runs(results, study)
    elif _files(results) - {LOCK, HOLDER} and not force:
        raise UserError(f"{results} is not empty and holds no study; give another --out or --force")
    write_record(record, study)


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def differences(found: Any, wanted: Any, key: str = "") -> list[str]:
    """What differs between two JSON values, one line a key: `recipe.context: 128 -> 256`."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = []
        for name in dict.fromkeys([*found, *wanted]):
            below = f"{key}.{name}" if key else name
            if name not in wanted:
                lines.append(f"{below} removed")
            elif name not in found:
                lines.append(f"{below} added")
            else:
                lines += differences(found[name], wanted[name], below)
        return lines
    return [] if found == wanted else [f"{key}: {found} -> {wanted}"]


def _drop_changed_runs(results: Path, study: Study) -> None:
    wanted = {run.run: run for run in study.runs()}
    for folder in run_folders(results):
        found = read_record(folder.config, RunConfig) if folder.config.is_file() else None
        if found is None or found != wanted.get(folder.path.name):
            shutil.rmtree(folder.path)
    try:
        read_calibration(results, study)
    except UserError:
        calibration_file(results).unlink()
