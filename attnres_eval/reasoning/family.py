"""What every family of reasoning questions gives. Torch-free.

A text is a row of symbols, each a letter, a digit or a mark, with spaces between, so that a
byte-level BPE makes one token of each:

    D a c c e e b b a 1 c = e 2 a = e

is a `depo` document: the family's letter, a table (edges a-c, c-e, e-b, b-a), then questions with
their answers, which follow at once: there are no worked steps to lean on. An evaluation item is
such a document with one question, cut behind its `=`.
"""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Question:
    """One question on a table."""

    text: str
    """Symbols up to and with `=`."""
    choices: tuple[str, ...]
    """Answers to choose from, all different."""
    gold: int
    """Index of the right one."""
    key: str
    """What the question is about in canonical form: keys decide what is trained on."""

    @property
    def answer(self) -> str:
        """The right answer."""
        return self.choices[self.gold]


@dataclass(frozen=True)
class Scene:
    """A table, and one question for each number of steps that was asked for."""

    table: str
    """The family's letter and what the questions are about."""
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Item:
    """One evaluation question."""

    prompt: str
    choices: tuple[str, ...]
    gold: int


def choose(
    rng: Random, places: Sequence[tuple[int, T]], steps: Sequence[int]
) -> list[tuple[int, T]] | None:
    """Chooses what to ask of a table.

    Args:
        rng: draws.
        places: every question that the table has: its number of steps and its subject.
        steps: numbers of steps asked for.

    Returns:
        Different ones of `places`: the first of `steps[0]` steps, each further one of as many as
        `steps` says or, where none is left, any. None where there are too few, or no first one.
    """
    left = list(places)
    chosen: list[tuple[int, T]] = []
    for k in steps:
        fitting = [place for place in left if place[0] == k] or (left if chosen else [])
        if not fitting:
            return None
        place = rng.choice(fitting)
        left.remove(place)
        chosen.append(place)
    return chosen


@dataclass(frozen=True)
class Family(ABC):
    """A kind of question whose number of steps k is a dial. Its fields are its other dials."""

    name: ClassVar[str]
    letter: ClassVar[str]
    """Begins every text of the family."""
    version: ClassVar[int]
    """Raised whenever the same seed would give other text."""
    skill: ClassVar[str]
    """What has to be done k times, in a clause."""
    shared_table: ClassVar[bool] = True
    """Whether the questions of a document share one table; otherwise each stands by itself."""
    separator: ClassVar[str] = " "
    """Between a document's table and its questions."""
    requires: ClassVar[str | None] = None
    """A module of another package that makes the questions."""

    steps: tuple[int, ...]
    """Values of k that are evaluated."""
    taught: tuple[int, ...]
    """Values of k that are trained on and not evaluated, since there are too few questions of them
    to keep any back."""
    questions: int
    """Questions a training document."""
    evaluation_share: float
    """Share of the keys that is never trained on."""

    @abstractmethod
    def chance(self, k: int) -> float:
        """Accuracy of guessing uniformly among the choices."""

    @abstractmethod
    def answer_symbols(self, k: int) -> int:
        """Symbols of an answer."""

    @abstractmethod
    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        """Draws a table of the usual size and as many different questions on it as `steps` has.

        The first question is of `steps[0]` steps. So is each further one of as many as `steps`
        says, unless the table has no such question left; then any other that it has is asked.
        """

    def for_evaluation(self, key: str) -> bool:
        """Whether questions of this key are evaluated, and so never trained on."""
        digest = hashlib.sha256(f"{self.name} {key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2.0**64 < self.evaluation_share

    def generate(self, rng: Random, k: int) -> Item:
        """Draws one evaluation question of k steps."""
        while True:
            scene = self.scene(rng, [k])
            (question,) = scene.questions
            if self.for_evaluation(question.key):
                return Item(
                    self.join([scene.table, question.text]), question.choices, question.gold
                )

    def join(self, parts: Sequence[str]) -> str:
        """A document, or its beginning, from its table, where there is one, and its questions."""
        return self.separator.join(part for part in parts if part)

    def dials(self) -> dict[str, Any]:
        """Everything that decides the text, as JSON."""
        return {"version": self.version, **dataclasses.asdict(self)}
