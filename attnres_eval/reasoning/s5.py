"""`s5`: state tracking in the symmetric group of five elements.

    S 3 a b a = 5                   (where 3 is after a, then b, then a)

An element and a word of k generators, fixed permutations of five places that the model has to learn
by heart: where is the element afterwards? Products in S5 are complete for NC1, so that no
transformer of fixed depth can do all lengths: Merrill, Petty, Sabharwal, "The Illusion of State in
State-Space Models" (arXiv:2404.08819); Liu et al., "Transformers Learn Shortcuts to Automata"
(arXiv:2210.10749). The generators are a five-cycle, its inverse and a transposition; a three-cycle
is a fourth. Words of `taught` lengths are few: all of them are trained on and not evaluated.
Chance: 1 / 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from attnres_eval.reasoning.family import Family, Question, Scene

GENERATORS = {
    "a": (1, 2, 3, 4, 0),
    "b": (4, 0, 1, 2, 3),
    "c": (1, 0, 2, 3, 4),
    "d": (0, 1, 3, 4, 2),
}
"""Where each of the places 0 to 4 goes; texts call them 1 to 5."""


@dataclass(frozen=True)
class S5(Family):
    """See the module."""

    name = "s5"
    letter = "S"
    version = 1
    skill = "applies a permutation to where the element is"
    shared_table = False

    steps: tuple[int, ...] = (4, 6, 8, 12)
    taught: tuple[int, ...] = (1, 2, 3)
    questions: int = 8
    evaluation_share: float = 0.3
    generators: int = 3

    def chance(self, k: int) -> float:
        return 1 / 5

    def answer_symbols(self, k: int) -> int:
        return 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        names = list(GENERATORS)[: self.generators]
        choices = tuple("12345")
        questions = []
        for k in steps:
            word = rng.choices(names, k=k)
            start = place = rng.randrange(5)
            for name in word:
                place = GENERATORS[name][place]
            text = f"{start + 1} {' '.join(word)}"
            questions.append(Question(f"{text} =", choices, place, text))
        return Scene(self.letter, tuple(questions))

    def for_evaluation(self, key: str) -> bool:
        return len(key.split()) - 1 not in self.taught and super().for_evaluation(key)
