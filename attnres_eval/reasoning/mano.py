"""`mano`: an expression of k operators in modular arithmetic, from left to right.

    M 3 + 4 * 2 = 4                 ((3 + 4) * 2 modulo 5)

After the task Mano of "Physics of Language Models: Part 4.1" (Allen-Zhu): expressions of +, - and *
modulo 23 that are to be solved from knowledge, with no table in sight; there in prefix notation and
of any shape. Here every expression is as deep as it can be, k operators inside each other and no
precedence, and the modulus is small: at the size of the bundled studies the other form stays at
chance (LOG.md). The result is drawn first, uniformly, and expressions until one has it: products
would otherwise make 0 a good guess. k = 1 is the table of sums, differences and products itself, a
few dozen facts that are trained on and not evaluated. Chance: 1 / modulus.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from attnres_eval.reasoning.family import Family, Question, Scene

OPERATORS = "+-*"


def expression(rng: Random, operators: int, modulus: int) -> list[str]:
    """Symbols of a random expression: a number, then operators each with a number."""
    symbols = [str(rng.randrange(modulus))]
    for _ in range(operators):
        symbols += [rng.choice(OPERATORS), str(rng.randrange(modulus))]
    return symbols


def value(symbols: Sequence[str], modulus: int) -> int:
    """What an expression comes to, from left to right."""
    result = int(symbols[0])
    for operator, number in zip(symbols[1::2], symbols[2::2], strict=True):
        b = int(number)
        result = {"+": result + b, "-": result - b, "*": result * b}[operator] % modulus
    return result


@dataclass(frozen=True)
class Mano(Family):
    """See the module."""

    name = "mano"
    letter = "M"
    version = 1
    skill = "applies an operator to the result so far"
    shared_table = False

    steps: tuple[int, ...] = (2, 3, 4)
    taught: tuple[int, ...] = (1,)
    questions: int = 8
    evaluation_share: float = 0.1
    modulus: int = 5

    def chance(self, k: int) -> float:
        return 1 / self.modulus

    def answer_symbols(self, k: int) -> int:
        return 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        choices = tuple(str(number) for number in range(self.modulus))
        questions = []
        for k in steps:
            wanted = rng.randrange(self.modulus)
            while value(symbols := expression(rng, k, self.modulus), self.modulus) != wanted:
                pass
            text = " ".join(symbols)
            questions.append(Question(f"{text} =", choices, wanted, text))
        return Scene(self.letter, tuple(questions))

    def for_evaluation(self, key: str) -> bool:
        # Three symbols are one fact.
        return len(key.split()) // 2 not in self.taught and super().for_evaluation(key)
