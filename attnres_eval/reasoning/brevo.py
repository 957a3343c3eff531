"""`brevo`: everything that a vertex depends on, in topological order; k vertices.

    B d a b a d c  d = a c .        (edges: d needs a, b needs a, d needs c)

After the task Brevo of "Physics of Language Models: Part 4.1" (Allen-Zhu): recursive traversal of
a dependency graph given as shuffled edges. The answer names the k vertices that the questioned one
needs, directly or through others, each after all that it needs itself; of the vertices that could
come next, the alphabetically first does, so that there is one right answer. A wrong choice has the
same length and either breaks the order or names a vertex that is not needed. The answer is a list,
so its later symbols can lean on its first ones: no other family has that. Chance: 1 / 4; but
whoever takes letters that anything needs, ascending where a choice has them so, scores .46 to .63
without following an edge (`benchmarks/reasoning_shortcuts.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from attnres_eval.reasoning.family import LETTERS, Family, Question, Scene, choose

Needs = Mapping[str, frozenset[str]]
"""What each vertex needs directly."""

CHOICES = 4


def needed(needs: Needs, vertex: str) -> frozenset[str]:
    """What a vertex needs, directly or through others."""
    return needs[vertex].union(*(needed(needs, other) for other in needs[vertex]))


def first_order(needs: Needs, vertices: frozenset[str]) -> list[str]:
    """The alphabetically first topological order of vertices that need nothing outside."""
    order: list[str] = []
    while len(order) < len(vertices):
        order.append(min(v for v in vertices - set(order) if needs[v] <= set(order)))
    return order


def is_order(needs: Needs, order: Sequence[str]) -> bool:
    """Whether each vertex comes after all that it needs."""
    return all(needs[vertex] <= set(order[:index]) for index, vertex in enumerate(order))


@dataclass(frozen=True)
class Brevo(Family):
    """See the module."""

    name = "brevo"
    letter = "B"
    version = 1
    skill = "finds the next vertex of which everything that it needs is done"

    steps: tuple[int, ...] = (1, 2, 3)
    taught: tuple[int, ...] = ()
    questions: int = 4
    evaluation_share: float = 0.02
    nodes: int = 5
    edges: int = 5
    alphabet: int = 8
    """Letters that vertices are taken from."""

    def chance(self, k: int) -> float:
        return 1 / CHOICES

    def answer_symbols(self, k: int) -> int:
        return k + 1

    def scene(self, rng: Random, steps: Sequence[int]) -> Scene:
        while True:
            names = rng.sample(LETTERS[: self.alphabet], self.nodes)
            pairs = [(b, a) for i, a in enumerate(names) for b in names[i + 1 :]]
            edges = rng.sample(pairs, self.edges)
            needs = {name: frozenset(b for a, b in edges if a == name) for name in names}
            sets = {name: needed(needs, name) for name in names}
            places = [(len(sets[name]), name) for name in names if len(sets[name]) in self.steps]
            asked = choose(rng, places, steps)
            if asked is not None and len({name for edge in edges for name in edge}) == self.nodes:
                break
        key = ";".join(sorted(f"{a}{b}" for a, b in edges))
        questions = []
        for _, start in asked:
            order = first_order(needs, sets[start])
            choices = [order, *_wrong_orders(rng, needs, start, order)]
            # Sorted, the right one would more often be last: its letters ascend where they may.
            Random(f"{key} {start}").shuffle(choices)
            texts = tuple(f"{' '.join(choice)} ." for choice in choices)
            questions.append(Question(f"{start} =", texts, choices.index(order), key))
        text = " ".join(f"{a} {b}" for a, b in edges)
        return Scene(f"{self.letter} {text}", tuple(questions))


def _wrong_orders(rng: Random, needs: Needs, start: str, order: list[str]) -> list[list[str]]:
    """Three different answers of the right length that are wrong."""
    outside = sorted(set(needs) - set(order) - {start})
    wrong: list[list[str]] = []
    while len(wrong) < CHOICES - 1:
        candidate = list(order)
        if rng.random() < 0.5:
            rng.shuffle(candidate)
            if is_order(needs, candidate):
                continue
        else:
            candidate[rng.randrange(len(order))] = rng.choice(outside)
        if candidate not in wrong:
            wrong.append(candidate)
    return wrong
