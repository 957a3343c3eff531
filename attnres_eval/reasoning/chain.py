"""`chain`: k-step variable assignment and arithmetic, with distractors.

    C c 2 f 1 a c 1 b f 2  a = 0    (c = 2; f = 1; a = c + 1; b = f + 2, all modulo 3)

Several chains of assignments are interleaved in an order in which a variable is set before it is
used; each chain begins with a number, and each further variable is the one before it plus a number.
k counts the assignments that an answer rests on: k = 1 reads a number, k = 2 adds once. Only one
chain matters to a question; the others distract. The form is that of variable-assignment probes
of reasoning (such as variable tracking in RULER, arXiv:2404.06654) with additions. Chance:
1 / modulus, and the answers are uniform.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from attnres_eval.reasoning.family import LETTERS, Family, Question, Scene, choose


@dataclass(frozen=True)
class Chain(Family):
    """See the module."""

    name = "chain"
    letter = "C"
    version = 1
    skill = "looks up a variable's assignment and adds"

    steps: tuple[int, ...] = (1, 2, 3)
    taught: tuple[int, ...] = ()
    questions: int = 6
    evaluation_share: float = 0.02
    chains: int = 2
    modulus: int = 3
    alphabet: int = 8
    """Letters that variables are taken from."""

    def chance(self, k: int) -> float:
        return 1 / self.modulus

    def answer_symbols(self, k: int) -> int:
        return 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        length = max(self.steps)
        order = [chain for chain in range(self.chains) for _ in range(length)]
        rng.shuffle(order)
        names = rng.sample(LETTERS[: self.alphabet], len(order))
        chains: list[list[tuple[str, int]]] = [[] for _ in range(self.chains)]
        statements = []
        for name, index in zip(names, order, strict=True):
            number, chain = rng.randrange(self.modulus), chains[index]
            statements.append(f"{name} {chain[-1][0]} {number}" if chain else f"{name} {number}")
            value = chain[-1][1] + number if chain else number
            chain.append((name, value % self.modulus))
        key = ";".join(sorted(statements))
        choices = tuple(str(value) for value in range(self.modulus))
        places = [(k, assigned) for chain in chains for k, assigned in enumerate(chain, 1)]
        questions = tuple(
            Question(f"{name} =", choices, value, key)
            for _, (name, value) in choose(rng, places, steps) or []
        )
        return Scene(f"{self.letter} {' '.join(statements)}", questions)
