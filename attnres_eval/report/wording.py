"""Lists and numbers as parts of a sentence."""

from collections.abc import Sequence


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(number: int, thing: str) -> str:
    """`one seed`, `3 seeds`."""
    return f"one {thing}" if number == 1 else f"{number:,} {thing}s"
