"""What answers without doing the steps: `python benchmarks/reasoning_shortcuts.py`.

Chance is what guessing scores. A model can do better than that without taking a single one of the
k steps, and accuracy up to these levels is no evidence that it takes them.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from random import Random

from attnres_eval.reasoning import FAMILIES
from attnres_eval.reasoning.family import Family, Item
from attnres_eval.reasoning.stream import evaluation_items
from attnres_eval.report.formats import format_table

DRAWS = 40_000
"""Questions from which the most frequent answer to a clue is learnt."""


def ascending_needed(item: Item) -> float:
    """`brevo`: letters that anything needs, in ascending order where a choice has them so."""
    symbols = item.prompt.split()[1:-2]
    choices = [choice.split()[:-1] for choice in item.choices]

    def descents(letters: list[str]) -> int:
        return sum(a > b for a, b in itertools.pairwise(letters))

    places = [i for i, letters in enumerate(choices) if set(letters) <= set(symbols[1::2])]
    fewest = min(descents(choices[i]) for i in places)
    best = [i for i in places if descents(choices[i]) == fewest]
    return (item.gold in best) / len(best)


def same_letter(item: Item) -> float:
    """`induction`: the letter that was asked for."""
    return float(item.choices[item.gold] == item.prompt.split()[-2])


def one_hop(item: Item) -> float:
    """`induction`: what follows the letter's last place."""
    *letters, _, letter, _ = item.prompt.split()[1:]
    after = dict(itertools.pairwise(letters))
    return float(item.choices[item.gold] == after.get(letter))


def commonest_successor(item: Item) -> float:
    """`induction`: what follows the letter most often."""
    *letters, _, letter, _ = item.prompt.split()[1:]
    after = Counter(b for a, b in itertools.pairwise(letters) if a == letter)
    return float(bool(after) and item.choices[item.gold] == after.most_common(1)[0][0])


def learnt(family: Family, k: int, clue: Callable[[list[str]], Hashable]) -> float:
    """Accuracy of the most frequent answer to a clue, which is taken from a question's symbols."""
    rng = Random(1)
    counts: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for _ in range(DRAWS):
        (question,) = family.scene(rng, [k]).questions
        counts[clue(question.text.split()[:-1])][question.answer] += 1
    items = evaluation_items(family, k)
    right = 0
    for item in items:
        seen = counts[clue(item.prompt.split()[1:-1])].most_common(1)
        right += bool(seen) and seen[0][0] == item.choices[item.gold]
    return right / len(items)


def last_operator(symbols: list[str]) -> Hashable:
    """`mano`: the last operator and its number."""
    return tuple(symbols[-2:])


def word_counts(symbols: list[str]) -> Hashable:
    """`s5`: the element, and how often each generator is applied, in whatever order."""
    word = Counter(symbols[1:])
    return symbols[0], word["a"] - word["b"], word["c"] % 2


def main() -> None:
    """Prints the table."""
    rows = []
    for name, rule in (
        ("brevo", ascending_needed),
        ("induction", same_letter),
        ("induction", one_hop),
        ("induction", commonest_successor),
    ):
        family = FAMILIES[name]
        for k in family.steps:
            items = evaluation_items(family, k)
            score = sum(rule(item) for item in items) / len(items)
            rows.append(_row(family, k, rule.__name__, score))
    for name, clue in (("mano", last_operator), ("s5", word_counts)):
        family = FAMILIES[name]
        rows += [_row(family, k, clue.__name__, learnt(family, k, clue)) for k in family.steps]
    print(format_table(rows, "markdown"))


def _row(family: Family, k: int, rule: str, score: float) -> dict[str, object]:
    chance = family.chance(k)
    return {"family": family.name, "k": k, "rule": rule, "score": score, "chance": chance}


if __name__ == "__main__":
    main()
