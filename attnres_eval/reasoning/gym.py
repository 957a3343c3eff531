"""Families of the package reasoning-gym (github: open-thought/reasoning-gym), its code called.

Questions read as the package writes them, one line `Question:` and one `Answer:`. The three wrong
choices are right answers of other questions of the same number of steps, and which of the four
questions is asked is drawn, so that an answer alone says nothing. The package is an extra:
`pip install 'attnres-eval[gym]'`.
"""

import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from random import Random
from typing import Any, ClassVar

from attnres_eval.errors import UserError
from attnres_eval.reasoning.family import Family, Question, Scene

CHOICES = 4
_DRAWS = 2**31 - 1
"""Questions that a data set of the package is said to have; each is made when it is asked for."""


@dataclass(frozen=True)
class GymFamily(Family):
    """One data set of the package, one of its settings the dial."""

    letter = ""
    version = 1
    shared_table = False
    separator = "\n"
    requires = "reasoning_gym"

    dataset: ClassVar[str]
    """The package's name for it."""
    dial: ClassVar[str]
    """The package's setting that is k, without its `min_` and `max_`."""
    settings: ClassVar[Mapping[str, int]] = {}
    """The package's other settings, where they are not its own defaults."""

    steps: tuple[int, ...]
    taught: tuple[int, ...] = ()
    questions: int = 4
    evaluation_share: float = 0.1

    def chance(self, k: int) -> float:
        return 1 / CHOICES

    def answer_symbols(self, k: int) -> int:
        return 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        questions = []
        for k in steps:
            # Which of them is asked is drawn last: were it the first, it would more often be the
            # one with the commonest answer.
            made: dict[str, str] = {}
            while len(made) < CHOICES:
                drawn = self._draw(rng, k)
                made.setdefault(str(drawn["answer"]), " ".join(str(drawn["question"]).split()))
            choices = tuple(sorted(made))
            gold = rng.randrange(CHOICES)
            text = made[choices[gold]]
            questions.append(Question(f"Question: {text}\nAnswer:", choices, gold, text))
        return Scene("", tuple(questions))

    def dials(self) -> dict[str, Any]:
        package = {"reasoning_gym": metadata.version("reasoning_gym")}
        return {**super().dials(), **package, **self.settings}

    def _draw(self, rng: Random, k: int) -> Mapping[str, Any]:
        exactly = {f"min_{self.dial}": k, f"max_{self.dial}": k}
        values = tuple(sorted({**self.settings, **exactly}.items()))
        made: Mapping[str, Any] = _dataset(self.dataset, values)[rng.randrange(_DRAWS)]
        return made


@functools.cache
def _dataset(name: str, settings: tuple[tuple[str, int], ...]) -> Any:
    try:
        package = importlib.import_module("reasoning_gym")
    except ImportError:
        raise UserError(
            "questions of reasoning-gym need that package: pip install 'attnres-eval[gym]'"
        ) from None
    return package.create_dataset(name, size=_DRAWS, seed=0, **dict(settings))


class ChainSum(GymFamily):
    """Sums and differences of one-digit numbers."""

    name = "gym_chain_sum"
    skill = "adds or subtracts a one-digit number; k numbers"
    dataset = "chain_sum"
    dial = "terms"
    settings: ClassVar[Mapping[str, int]] = {"min_digits": 1, "max_digits": 1}


class LegCounting(GymFamily):
    """Legs of so many of several animals."""

    name = "gym_leg_counting"
    skill = "multiplies an animal's legs by its number and adds; k kinds of animals"
    dataset = "leg_counting"
    dial = "animals"
    settings: ClassVar[Mapping[str, int]] = {"min_instances": 1, "max_instances": 9}


class FamilyRelationships(GymFamily):
    """What one member of a family is to another."""

    name = "gym_family_relationships"
    skill = "follows a marriage or a child through a family; k people"
    dataset = "family_relationships"
    dial = "family_size"


class SpellBackward(GymFamily):
    """Words backwards."""

    name = "gym_spell_backward"
    skill = "moves a letter to its place from the other end; k letters"
    dataset = "spell_backward"
    dial = "word_len"


GYM: tuple[GymFamily, ...] = (
    ChainSum(steps=(3, 4, 5, 6)),
    LegCounting(steps=(1, 2, 3, 4)),
    FamilyRelationships(steps=(3, 4, 6, 8)),
    SpellBackward(steps=(3, 5, 7, 9)),
)
