"""Files that are either the old version or the new one, never half of one."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attnres_eval.errors import UserError, cannot_be_written


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in one line what keeps `path` from being written: a full disk, missing rights.

    Raises:
        UserError: the system refused.
    """
    try:
        yield
    except OSError as error:
        raise UserError(cannot_be_written(path, error)) from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`, which replaces `path` when the body succeeds.

    Raises:
        UserError: the disk is full, or the file may not be written; an old one is left as it was.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # mkstemp makes files that only their owner may read: give what open() would have given.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file; a process that dies here may leave a part of it.

    Raises:
        UserError: the disk is full, or the file may not be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def drop_leftovers(folder: Path) -> None:
    """Deletes what a process that was killed left under temporary names.

    To be called only by who holds the folder (`attnres_eval.lock`).
    """
    for path in list(folder.rglob(".*.tmp")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON. NaN and infinity are refused: JSON has no such numbers."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads one JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(_unreadable(path, error)) from None
    except _NOT_JSON as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it and run again") from None


def read_jsonl(path: Path) -> list[Any]:
    """Reads one JSON value a line.

    Raises:
        UserError: the file is missing or a line is not JSON.
    """
    values: list[Any] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                values.append(json.loads(line))
    except OSError as error:
        raise UserError(_unreadable(path, error)) from None
    except _NOT_JSON as error:
        number = len(values) + 1
        raise UserError(
            f"{path} line {number} is not valid JSON ({error}); delete the file and run again"
        ) from None
    return values


_NOT_JSON = (ValueError, RecursionError)
"""What Python's reader raises: broken JSON or UTF-8, absurdly long numbers, endless nesting."""


def _unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    return f"{path} cannot be read ({error.strerror})"


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """The hexadecimal SHA-256 of a JSON value, independent of key order and spacing."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
