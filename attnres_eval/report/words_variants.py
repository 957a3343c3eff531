"""A study's variants and their learning rates in words: each variant once, whatever its rates."""

from collections.abc import Iterable, Sequence

from attnres_eval.labels import OWN, own_base, split_label
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed


def variants_in_words(labels: Iterable[str]) -> str:
    """How many variants there are, which, and at which rates.

    `2 variants (PreNorm and mHC)`, or `2 variants (PreNorm and mHC), each at 0.5 and 1 times the
    rate`, or `2 variants (PreNorm; mHC at 0.5 and 1 times the rate)`.
    """
    rates = {label_title(base): _rates(own) for base, own in by_variant(labels).items()}
    number = counted(len(rates), "variant")
    if len(set(rates.values())) > 1:
        named = [f"{name} {rate}".rstrip() for name, rate in rates.items()]
        return f"{number} ({'; '.join(named)})"
    (rate,) = set(rates.values())
    each = "each " if len(rates) > 1 else ""
    return f"{number} ({listed(list(rates))})" + (f", {each}{rate}," if rate else "")


def counted_variants(labels: Sequence[str]) -> str:
    """`3 variants`; those at several rates count once: `2 variants (10 with their rates)`."""
    number = len(by_variant(labels))
    several = f" ({len(labels)} with their rates)" if len(labels) > number else ""
    return counted(number, "variant") + several


def at_rates(labels: Sequence[str]) -> str:
    """Goes behind a number of variants in which those at several rates count at each of them."""
    return " at their rates" if len(labels) > len(by_variant(labels)) else ""


def by_variant(labels: Iterable[str]) -> dict[str, list[str]]:
    """Labels by the one whose rate they scale, in order."""
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(own_base(label), []).append(label)
    return found


def _rates(labels: Sequence[str]) -> str:
    """The rates of one variant's labels; empty where it has the recipe's alone."""
    factors = [f"{split_label(label)[1]:g}" for label in labels if not label.endswith(OWN)]
    own = "at its own rate" if len(factors) < len(labels) else ""
    if factors == ["1"]:
        return f"at the rate of all and {own}" if own else ""
    scaled = f"at {listed(factors)} times the rate" if factors else ""
    return listed([part for part in (scaled, own) if part])
