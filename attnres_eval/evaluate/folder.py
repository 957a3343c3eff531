"""Benchmarks in the user's own data folder, in the layouts in which their authors publish them.

    gpqa/dataset.zip                      GPQA, encrypted, as its authors publish it
    mmlu_pro/mmlu_pro_<split>.jsonl.gz    MMLU-Pro; the worked examples are the split `validation`
    bbh/<task>.json                       BIG-Bench-Hard
    cmath/cmath_<split>.jsonl             CMATH, fields `question` and `golden`

GPQA's authors ask that its questions never appear in plain text: they are decrypted in memory.
"""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from attnres_eval.errors import UserError
from attnres_eval.evaluate.package import Splits

GPQA = "Idavidrein/gpqa"
"""`dataset_path` of the benchmark whose text must not be written anywhere."""

_GPQA_PASSWORD = b"deserted-untie-orchid"


def folder_splits(folder: Path, dataset: str, name: str | None) -> Splits:
    """The splits of a data set that the user's folder holds; empty where it holds none.

    Args:
        folder: what `--data-dir` names.
        dataset: `dataset_path` of lm-eval's task.
        name: its `dataset_name`.
    """
    match dataset, name:
        case "Idavidrein/gpqa", str():
            archive = folder / "gpqa" / "dataset.zip"
            return {"train": lambda: _gpqa(archive, name)} if archive.is_file() else {}
        case "TIGER-Lab/MMLU-Pro", None:
            files = (folder / "mmlu_pro").glob("mmlu_pro_*.jsonl.gz")
            return {
                file.name.removeprefix("mmlu_pro_").removesuffix(".jsonl.gz"): _mmlu_pro(file)
                for file in sorted(files)
            }
        case "SaylorTwift/bbh", str():
            file = folder / "bbh" / f"{name}.json"
            return {"test": lambda: _bbh(file)} if file.is_file() else {}
        case "weitianwen/cmath", None:
            files = (folder / "cmath").glob("cmath_*.jsonl")
            return {file.stem.removeprefix("cmath_"): _cmath(file) for file in sorted(files)}
    return {}


def where_to_find(dataset: str, splits: Sequence[str], name: str | None) -> str | None:
    """The files that the data folder lacks, for a data set that has a place there."""

    def each(pattern: str) -> str:
        return " and ".join(pattern.format(split) for split in splits)

    return {
        GPQA: "the authors' gpqa/dataset.zip (github: idavidrein/gpqa)",
        "TIGER-Lab/MMLU-Pro": each("mmlu_pro/mmlu_pro_{}.jsonl.gz"),
        "weitianwen/cmath": each("cmath/cmath_{}.jsonl"),
        "SaylorTwift/bbh": f"bbh/{name}.json (github: suzgunmirac/BIG-Bench-Hard)",
    }.get(dataset)


def _gpqa(archive: Path, name: str) -> Dataset:
    try:
        with zipfile.ZipFile(archive) as files:
            text = files.read(f"dataset/{name}.csv", pwd=_GPQA_PASSWORD).decode("utf-8")
    except (KeyError, OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive}: {name} cannot be read ({type(error).__name__})") from None
    return Dataset.from_list(list(csv.DictReader(io.StringIO(text, newline=""))))


def _mmlu_pro(file: Path) -> Callable[[], Dataset]:
    def read() -> Dataset:
        return Dataset.from_list(
            _read(file, lambda text: [json.loads(x) for x in text.split("\n") if x])
        )

    return read


def _cmath(file: Path) -> Callable[[], Dataset]:
    def rows(text: str) -> list[dict[str, Any]]:
        docs = [json.loads(line) for line in text.split("\n") if line.strip()]
        # Answers are numbers in some copies and strings in others.
        return [{"question": doc["question"], "golden": str(doc["golden"])} for doc in docs]

    return lambda: Dataset.from_list(_read(file, rows))


def _bbh(file: Path) -> Dataset:
    return Dataset.from_list(_read(file, lambda text: json.loads(text)["examples"]))


def _read(file: Path, parse: Callable[[str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        data = file.read_bytes()
        return parse((gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8"))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({type(error).__name__}: {error})") from None
