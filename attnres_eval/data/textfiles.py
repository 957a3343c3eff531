"""The corpus `file:PATH`: one file of text, lines of JSON, or parquet."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from attnres_eval.data.split import Split, split_documents, valid_text
from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file


def _read_txt(path: Path) -> Iterator[str]:
    yield path.read_text(encoding="utf-8-sig")


def _read_jsonl(path: Path) -> Iterator[str]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            record = json.loads(line)
            text = record.get("text") if isinstance(record, dict) else None
            if not isinstance(text, str):
                raise UserError(f"{path} line {number}: has no field `text` that holds a string")
            yield text


def _read_parquet(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        if "text" not in file.schema_arrow.names:
            names = ", ".join(file.schema_arrow.names)
            raise UserError(f"{path}: has no column `text`; its columns are {names}")
        kind = file.schema_arrow.field("text").type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise UserError(f"{path}: column `text` holds {kind}, not strings")
        for batch in file.iter_batches(columns=["text"]):
            yield from (text for text in batch.column(0).to_pylist() if text is not None)


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".parquet": _read_parquet,
}
"""How a file's name ends; what reads its documents."""


@dataclass(frozen=True)
class TextFile:
    """One file. A .txt file is one document, the others hold one a record, in `text`."""

    name: str
    path: Path

    def _reader(self) -> Callable[[Path], Iterator[str]]:
        for ending, reader in READERS.items():
            if self.path.name.endswith(ending):
                return reader
        raise UserError(f"corpus {self.name}: {self.path.name} is not one of {', '.join(READERS)}")

    def identity(self) -> dict[str, str]:
        """Size and SHA-256 of the file.

        Raises:
            UserError: there is no such file, or its name's ending is unknown.
        """
        self._reader()
        if not self.path.is_file():
            raise UserError(f"corpus {self.name}: there is no file {self.path}")
        return {"bytes": str(self.path.stat().st_size), "sha256": sha256_of_file(self.path)}

    def read(self) -> Split:
        """The documents, split as `split_documents` says.

        Raises:
            UserError: the file is missing, damaged, empty, or without text.
        """
        self.identity()
        try:
            documents = [valid_text(text) for text in self._reader()(self.path)]
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            # A damaged gzip, JSON, UTF-8 or parquet file each raise one of these.
            reason = " ".join(str(error).split())
            raise UserError(f"corpus {self.name}: cannot be read: {reason}") from None
        return split_documents(self.name, documents)
