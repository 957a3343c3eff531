"""The answers of the families, found another way: from the text of a prompt alone."""

import itertools
from collections.abc import Callable
from functools import reduce


def depo(prompt: str) -> str:
    *edges, k, node, _ = prompt.split()[1:]
    after = dict(zip(edges[::2], edges[1::2], strict=True))
    return reduce(lambda at, _: after[at], range(int(k)), node)


def induction(prompt: str) -> str:
    *letters, k, letter, _ = prompt.split()[1:]
    text = "".join(letters)
    for _ in range(int(k)):
        # The letter taken is cut off with all behind it: the next is looked for before it.
        at = text[:-1].rindex(letter)
        letter, text = text[at + 1], text[: at + 1]
    return letter


def mano(prompt: str) -> str:
    symbols = prompt.split()[1:-1]
    text = symbols[0]
    for operator, number in _pairs(symbols[1:]):
        text = f"({text} {operator} {number})"
    return str(eval(text) % 5)


def _pairs(symbols: list[str]) -> list[tuple[str, str]]:
    return list(zip(symbols[::2], symbols[1::2], strict=True))


def s5(prompt: str) -> str:
    start, *word, _ = prompt.split()[1:]
    # As functions on 1 to 5: rotate up, rotate down, swap the first two, rotate the last three.
    moves: dict[str, Callable[[int], int]] = {
        "a": lambda x: x % 5 + 1,
        "b": lambda x: (x - 2) % 5 + 1,
        "c": lambda x: {1: 2, 2: 1}.get(x, x),
        "d": lambda x: {3: 4, 4: 5, 5: 3}.get(x, x),
    }
    return str(reduce(lambda x, name: moves[name](x), word, int(start)))


def chain(prompt: str) -> str:
    *symbols, asked, _ = prompt.split()[1:]
    values: dict[str, int] = {}
    while symbols:
        name, second = symbols.pop(0), symbols.pop(0)
        if second.isdigit():
            values[name] = int(second)
        else:
            values[name] = (values[second] + int(symbols.pop(0))) % 3
    return str(values[asked])


def brevo(prompt: str) -> str:
    """Tries every order of every set: the first, by letters, that is closed and in order."""
    *symbols, asked, _ = prompt.split()[1:]
    edges = _pairs(symbols)
    reached = {asked}
    while more := {b for a, b in edges if a in reached} - reached:
        reached |= more
    rest = sorted(reached - {asked})
    for order in itertools.permutations(rest):
        place = {name: index for index, name in enumerate(order)}
        if all(place[b] < place[a] for a, b in edges if a in place and b in place):
            return " ".join([*order, "."])
    raise AssertionError("a cycle")


SOLVERS: dict[str, Callable[[str], str]] = {
    "brevo": brevo,
    "chain": chain,
    "depo": depo,
    "induction": induction,
    "mano": mano,
    "s5": s5,
}
