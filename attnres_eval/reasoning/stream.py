"""Training documents and evaluation questions of a family, which share no key.

A key is what a question is about in canonical form: the permutation of `depo`, whatever the order
of its edges and whichever node is asked for; the expression of `mano`. Its SHA-256 decides whether
it is trained on or evaluated, so that no list of either has to be kept.
"""

import functools
from collections.abc import Iterator
from random import Random

from attnres_eval.reasoning.family import Family, Item

EVALUATION_QUESTIONS = 400
"""Of each family and number of steps, fewer where there are not so many."""
_PATIENCE = 2_000
"""Draws without a new question after which there is taken to be none."""


def draw_steps(rng: Random, family: Family) -> int:
    """A number of steps to train on: uniform up to a bound that is uniform itself.

    So that of four values the first has 52% and the last 6%: what is hard is learnt on top of what
    is easy, and what is easy makes it pay to read the tables at all.
    """
    values = sorted({*family.taught, *family.steps})
    return values[rng.randrange(rng.randrange(len(values)) + 1)]


def draw_document(rng: Random, family: Family, *, training: bool) -> str:
    """One document: questions with their answers, on one table or each standing alone.

    Args:
        rng: draws.
        family: of questions.
        training: whether its keys are those to train on, or those to evaluate; a document of the
            latter may have fewer questions than the family says.
    """
    while True:
        steps = [draw_steps(rng, family) for _ in range(family.questions)]
        scene = family.scene(rng, steps)
        kept = [q for q in scene.questions if family.for_evaluation(q.key) is not training]
        # A key may stand in several questions of a training document, never of the other side.
        if kept and (len(kept) == len(scene.questions) or not training):
            return family.join([scene.table, *(f"{q.text} {q.answer}" for q in kept)])


def documents(family: Family, characters: int, *, training: bool) -> Iterator[str]:
    """Seeded documents of at least so many characters together.

    Fewer characters give the first of those documents. Where a family has few questions, held-out
    documents repeat.
    """
    side = "training" if training else "held out"
    rng = Random(f"{family.name} {family.version} {side}")
    while characters > 0:
        document = draw_document(rng, family, training=training)
        characters -= len(document)
        yield document


@functools.cache
def evaluation_items(family: Family, k: int, count: int = EVALUATION_QUESTIONS) -> tuple[Item, ...]:
    """Seeded different evaluation questions of k steps: `count`, or all where there are fewer.

    Raises:
        ValueError: the family evaluates no such k.
    """
    if k not in family.steps:
        raise ValueError(f"{family.name}: k {k} is not among the evaluated {family.steps}")
    rng = Random(f"{family.name} {family.version} evaluation {k}")
    items: dict[str, Item] = {}
    idle = 0
    while len(items) < count and idle < _PATIENCE:
        item = family.generate(rng, k)
        idle = idle + 1 if item.prompt in items else 0
        items.setdefault(item.prompt, item)
    return tuple(items.values())
