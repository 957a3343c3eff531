"""Measured rows in a file: a later measurement of the same thing replaces the earlier one."""

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


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Writes the rows of a folder."""
    write_json(folder / FILE, [row.as_dict() for row in rows])
