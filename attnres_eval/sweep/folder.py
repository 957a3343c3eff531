"""A results folder belongs to one study, as that study was when it began."""

import shutil
from pathlib import Path
from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.files import write_json
from attnres_eval.records import RunFolder, read_record, run_folders
from attnres_eval.study import RunConfig, Study


def run_folder(results: Path, run: RunConfig) -> RunFolder:
    """Where a run's files are."""
    return RunFolder(results / "runs" / run.run)


def claim(results: Path, study: Study, force: bool) -> None:
    """Makes `results` the folder of `study`.

    Args:
        results: new, empty, or already of this study.
        study: what is to be run.
        force: take the folder over although its study differs. Runs that the new study has
            unchanged are kept; all others are deleted.

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
        if not force:
            changes = "; ".join(differences(found, wanted)[:5])
            raise UserError(
                f"{results} holds another study ({changes}); give another --out, or --force to"
                " delete the runs that differ"
            )
        _drop_changed_runs(results, study)
    elif results.is_dir() and any(results.iterdir()) and not force:
        raise UserError(f"{results} is not empty and holds no study; give another --out or --force")
    write_json(record, wanted)


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
