"""The folder of a study with parts: a results folder for each part, and `parts.json`."""

from collections.abc import Sequence
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.lock import HOLDER, LOCK
from attnres_eval.records import Record, read_record, write_record


class Parts(Record):
    """What a folder of parts holds."""

    name: str
    """Of the study."""
    parts: list[str]
    """Names of its folders, in the study's order. A part that was not begun has none yet."""
    headline: str | None = None
    """The part that the page opens with, where the study names one."""


def parts_file(results: Path) -> Path:
    """Where a study's list of parts is."""
    return results / "parts.json"


def read_parts(results: Path) -> Parts | None:
    """The parts of a results folder; None where it holds a study without parts, or none.

    Raises:
        UserError: the list is damaged, or leads out of the folder.
    """
    path = parts_file(results)
    if not path.is_file():
        return None
    record = read_record(path, Parts)
    for name in record.parts:
        if Path(name).name != name:
            raise UserError(f"{path}: {name!r} is no name of a folder")
    return record


def claim_parts(
    results: Path, name: str, parts: Sequence[str], headline: str | None = None
) -> None:
    """Makes `results` the folder of a study with parts.

    Parts may come and go: each looks after its own folder (`attnres_eval.sweep.folder.claim`), and
    may have been run before, alone.

    Raises:
        UserError: it holds something else.
    """
    found = read_parts(results)
    if found is None:
        files = {path.name for path in results.iterdir()} if results.is_dir() else set()
        if files - {LOCK, HOLDER, *parts}:
            raise UserError(
                f"{results} is not empty and holds no study of parts; give another --out"
            )
    elif found.name != name:
        raise UserError(f"{results} holds the parts of study {found.name}; give another --out")
    write_record(parts_file(results), Parts(name=name, parts=list(parts), headline=headline))


def begun_parts(results: Path) -> dict[str, Path]:
    """Folders of the parts that have a study, by name; empty where there are no parts."""
    record = read_parts(results)
    names = [] if record is None else record.parts
    return {name: results / name for name in names if (results / name / "study.json").is_file()}
