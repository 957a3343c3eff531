"""`depo`: the k-th successor in a permutation given as shuffled edges.

    D e b a c c e b a  2 a = e      (a -> c -> e -> b -> a)

After the task Depo of "Physics of Language Models: Part 4.1, Architecture Design and the Magic of
Canon Layers" (Allen-Zhu), which walks k steps along a directed permutation. The permutation is one
cycle of `nodes` letters. k stays at or below half of it, since k-th successor is also a
(nodes - k)-th predecessor, and walking backwards is as easy as forwards. Chance: 1 / (nodes - 1),
as no node is its own successor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from attnres_eval.reasoning.family import LETTERS, Family, Question, Scene, choose


@dataclass(frozen=True)
class Depo(Family):
    """See the module."""

    name = "depo"
    letter = "D"
    version = 1
    skill = "looks up the successor of the last node found"

    steps: tuple[int, ...] = (1, 2, 3)
    taught: tuple[int, ...] = ()
    questions: int = 8
    evaluation_share: float = 0.02
    nodes: int = 6
    alphabet: int = 8
    """Letters that nodes are taken from."""

    def chance(self, k: int) -> float:
        return 1 / (self.nodes - 1)

    def answer_symbols(self, k: int) -> int:
        return 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        cycle = rng.sample(LETTERS[: self.alphabet], self.nodes)
        edges = [f"{a} {b}" for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
        rng.shuffle(edges)
        first = cycle.index(min(cycle))
        key = "".join(cycle[first:] + cycle[:first])
        places = [(k, start) for k in self.steps for start in range(self.nodes)]
        questions = []
        for k, start in choose(rng, places, steps) or []:
            choices = tuple(sorted(set(cycle) - {cycle[start]}))
            gold = choices.index(cycle[(start + k) % self.nodes])
            questions.append(Question(f"{k} {cycle[start]} =", choices, gold, key))
        return Scene(f"{self.letter} {' '.join(edges)}", tuple(questions))
