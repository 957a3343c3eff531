"""A run's metrics.jsonl, read as it grows."""

import os
from pathlib import Path

from pydantic import ValidationError

from attnres_eval.records import Metrics


class MetricsTail:
    """Reads what is new in metrics.jsonl, line by line.

    A run that goes on from a checkpoint begins by dropping what it logged behind it; the file is
    then read anew from its start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._offset = 0
        self.lines: list[Metrics] = []
        """All whole lines that are in the file now."""

    def read(self) -> list[Metrics]:
        """The lines that were written since the last call; none where there is no file.

        A line that is not whole yet is read when it is, and one that is damaged is left out.
        """
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._file or found.st_size < self._offset:
                    self._file, self._offset, self.lines = found.st_ino, 0, []
                file.seek(self._offset)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            self._file, self._offset, self.lines = None, 0, []
            return []
        self._offset += len(whole) + len(newline)
        new = [metrics for line in whole.split(b"\n") if (metrics := _parsed(line)) is not None]
        self.lines += new
        return new


def _parsed(line: bytes) -> Metrics | None:
    try:
        return Metrics.model_validate_json(line)
    except ValidationError:
        return None
