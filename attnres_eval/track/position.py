"""How far each tracker has been told of each run: `tracking/position.json` of a results folder."""

import secrets
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_json
from attnres_eval.records import Record, read_record, write_record
from attnres_eval.study import RunConfig


class RunPosition(Record):
    """How far one tracker knows one run."""

    config_sha256: str
    step: int | None = None
    """The last one that was logged; None where the run has not been opened."""
    ended: bool = False
    """Whether it has the held-out loss."""
    scored: bool = False
    """Whether it has the scores."""
    failure: str | None = None
    """What it was told last of why there is no result."""


class Positions(Record):
    """The file."""

    key: str
    """Of the folder: runs of another one are others, whatever their names."""
    trackers: dict[str, dict[str, RunPosition]]
    """By tracker and run."""

    def run_id(self, config: RunConfig) -> str:
        """What a run of this folder is to trackers; changes with the run's configuration."""
        return sha256_of_json([self.key, config.model_dump(mode="json")])[:16]


def tracking_folder(results: Path) -> Path:
    """Where positions are kept."""
    return results / "tracking"


def read_positions(results: Path) -> Positions:
    """What was told before; nothing, where that cannot be read."""
    try:
        return read_record(tracking_folder(results) / "position.json", Positions)
    except UserError:
        return Positions(key=secrets.token_hex(8), trackers={})


def write_positions(results: Path, positions: Positions) -> None:
    """Writes the file, whole or not at all. Raises UserError where it cannot be."""
    write_record(tracking_folder(results) / "position.json", positions)
