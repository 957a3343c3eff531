"""`induction`: k-hop induction in a sequence of letters.

    I b c a b a c a c b  2 a = b    (the last `a` with a successor is followed by c;
                                     before that c, the last c is followed by b)

From a letter x go to its last place that something follows, and take what follows; k times, each
time looking only before the place just taken. After Sanford, Hsu, Telgarsky, "Transformers,
parallel computation, and logarithmic depth" (arXiv:2402.09268), whose hop_k starts at the end of
the sequence; here the question names the first letter, so that one sequence bears many questions.
Each letter is there equally often, so that the sequence's commonest letter is no good guess.
Chance: 1 / letters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from attnres_eval.reasoning.family import LETTERS, Family, Question, Scene, choose


def hop(sequence: Sequence[str], letter: str, k: int) -> str | None:
    """Where k hops from `letter` end; None where the sequence is too short for them."""
    end = len(sequence)
    for _ in range(k):
        places = [place for place in range(1, end) if sequence[place - 1] == letter]
        if not places:
            return None
        end = places[-1]
        letter = sequence[end]
    return letter


@dataclass(frozen=True)
class Induction(Family):
    """See the module."""

    name = "induction"
    letter = "I"
    version = 1
    skill = "finds the last earlier place of a letter and takes what follows it"

    steps: tuple[int, ...] = (1, 2, 3, 4)
    taught: tuple[int, ...] = ()
    questions: int = 10
    evaluation_share: float = 0.02
    letters: int = 5
    repeats: int = 4
    """How often each letter is in the sequence."""

    def chance(self, k: int) -> float:
        return 1 / self.letters

    def answer_symbols(self, k: int) -> int:
        return 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        choices = tuple(LETTERS[: self.letters])
        while True:
            sequence = list(choices) * self.repeats
            rng.shuffle(sequence)
            ends = {(k, x): hop(sequence, x, k) for k in self.steps for x in choices}
            asked = choose(rng, [place for place, end in ends.items() if end], steps)
            if asked is not None:
                break
        key = "".join(sequence)
        questions = tuple(
            Question(f"{k} {x} =", choices, choices.index(ends[k, x] or ""), key) for k, x in asked
        )
        return Scene(f"{self.letter} {' '.join(sequence)}", questions)
