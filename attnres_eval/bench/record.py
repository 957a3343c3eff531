"""Measured rows in a file: a later measurement of the same thing replaces the earlier one."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from attnres_eval.bench.rows import Row
from attnres_eval.errors import UserError
from attnres_eval.files import read_json, write_json

FILE = "speed.json"
_ROWS = TypeAdapter(list[Row])


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder, none where it has no file of them.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        return _ROWS.validate_python(read_json(path))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path}: {where}: {error.errors()[0]['msg']}; delete the file and measure again"
        ) from None


def merged(earlier: list[Row], new: list[Row]) -> list[Row]:
    """All rows, those measured again in the place of what they were."""
    by_key = {row.key: row for row in earlier}
    by_key.update({row.key: row for row in new})
    return list(by_key.values())


def by_processor(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each processor, of the one that measured last first."""
    groups: dict[str | None, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.processor, []).append(row)
    return sorted(groups.values(), key=lambda own: max(row.date or "" for row in own))[::-1]


def latest(rows: Sequence[Row]) -> list[Row]:
    """Of every section, the rows of the processor that measured it last: what figures draw."""
    sections: dict[str, list[Row]] = {}
    for row in rows:
        sections.setdefault(row.section, []).append(row)
    return [row for own in sections.values() for row in by_processor(own)[0]]


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Writes the rows of a folder."""
    write_json(folder / FILE, [row.as_dict() for row in rows])
