"""Where the study of a results folder comes from: its file and its protocol, kept beside the runs.

No run depends on them: a folder without them is as good.
"""

import hashlib
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.files import write_text
from attnres_eval.records import Record, read_record, write_record
from attnres_eval.study_file import Source


class Origin(Record):
    """Which study file a folder was last worked on with, and under which protocols."""

    study: str
    """Its name for `--study`."""
    study_file_sha256: str
    protocols_sha256: list[str]
    """Of every text that the protocol has had since runs were begun here; the last is that of
    `protocol.md`."""


def protocol_file(results: Path) -> Path:
    """Where a folder's protocol is."""
    return results / "protocol.md"


def _origin_file(results: Path) -> Path:
    return results / "origin.json"


def write_origin(results: Path, source: Source) -> None:
    """Writes down where a folder's study comes from; earlier protocols stay on record."""
    before = read_origin(results)
    protocols = [] if before is None else before.protocols_sha256
    if source.protocol is not None:
        write_text(protocol_file(results), source.protocol)
        sha256 = _sha256(protocol_file(results).read_bytes())
        protocols = protocols if protocols[-1:] == [sha256] else [*protocols, sha256]
    origin = Origin(study=source.name, study_file_sha256=source.sha256, protocols_sha256=protocols)
    write_record(_origin_file(results), origin)


def read_origin(results: Path) -> Origin | None:
    """Where a folder's study comes from; None where that was not written down.

    Raises:
        UserError: the record is damaged.
    """
    path = _origin_file(results)
    return read_record(path, Origin) if path.is_file() else None


def read_protocol(results: Path, origin: Origin | None) -> str | None:
    """The text of a folder's protocol; None where it has none.

    Raises:
        UserError: it is missing, or is not the one on record.
    """
    if origin is None or not origin.protocols_sha256:
        return None
    path = protocol_file(results)
    if not path.is_file() or _sha256(content := path.read_bytes()) != origin.protocols_sha256[-1]:
        what = "has changed since it was written" if path.is_file() else "is missing"
        raise UserError(f"{path} {what}; run the study again to have it written anew")
    return content.decode("utf-8")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
