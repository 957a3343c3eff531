"""What stands behind `attnres-eval train`: one run of a study, followed where that is asked for."""

from pathlib import Path
from typing import Any

from attnres_eval.study_file import load_study, split_part
from attnres_eval.track.tracking import Say, Tracking, tracked, whole_name
from attnres_eval.train.command import chosen_run, train_one


def train_tracked(
    name_or_path: str,
    label: str,
    size: str,
    seed: int | None,
    folder: Path,
    tracking: Tracking,
    say: Say,
) -> dict[str, Any]:
    """Trains one run of a study, or continues it.

    Args:
        name_or_path: of the study.
        label: of the variant in the study.
        size: the study's name of it.
        seed: the study's first where None.
        folder: of the run.
        tracking: whom to tell.
        say: told, a line each, of the tracking.

    Returns:
        A row for a table: the run and its summary.

    Raises:
        UserError: the study has no such label or size, or training failed.
    """
    study = load_study(name_or_path)
    config = chosen_run(study, label, size, seed)
    project = whole_name(study, split_part(name_or_path)[1])
    with tracked(tracking, folder, config, project, say):
        return train_one(study, label, size, seed, folder)
