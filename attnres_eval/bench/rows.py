"""Rows of the bench: what was measured, what was aimed at, and how to measure it again."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from attnres_eval.bench.rounds import Measured

SHOWN = ("quantity", "size", "value", "aim", "met", "spread", "peer", "precision")
"""Columns of a printed table; JSON and CSV have all."""


@dataclass(frozen=True)
class Aim:
    """What a value is to reach."""

    limit: float
    upward: bool = False
    """Whether more is better."""

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.upward else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.upward else '<='} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One measured quantity. What was not measured has no value, and a note says why."""

    section: str
    quantity: str
    """With its unit, unless it is a ratio."""
    size: str | None
    value: float | None
    aim: str | None
    met: bool | None
    spread: float | None
    """Interquartile range over rounds, in the unit of the value."""
    peer: str | None
    """What is compared with, where that is not ours: package, version and settings."""
    threads: int | None
    precision: str | None
    """Of ours; a peer's is among its settings."""
    rounds: int | None
    note: str | None = None
    variant: str | None = None
    """What a figure draws: a variant, or a study's label."""
    at: float | None = None
    """Where a figure draws it: blocks, tokens or sources."""
    processor: str | None = None
    torch: str | None = None
    date: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON values, the seven asked for first."""
        values = asdict(self)
        first = ("quantity", "size", "value", "aim", "met", "spread", "peer")
        return {key: values.pop(key) for key in first} | values

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement of the same thing has in common with this one.

        The processor is a part of it: what another one gave is no less true.
        """
        name = None if self.peer is None else self.peer.split(" (")[0]
        own = (self.section, self.quantity, self.size, name, self.variant, self.at)
        return *own, self.processor

    def stamped(self, processor: str, torch: str, date: str) -> "Row":
        """The row with where and when it was measured."""
        return replace(self, processor=processor, torch=torch, date=date)


def measured_row(
    section: str,
    quantity: str,
    size: str | None,
    measured: Measured | None,
    *,
    aim: Aim | None = None,
    peer: str | None = None,
    threads: int | None = 1,
    precision: str | None = None,
    rounds: int | None = None,
    note: str | None = None,
    variant: str | None = None,
    at: float | None = None,
) -> Row:
    """A row out of a measurement, or out of the note that says why there is none."""
    value = None if measured is None else measured.value
    spread = None if measured is None or math.isnan(measured.spread) else measured.spread
    return Row(
        section=section,
        quantity=quantity,
        size=size,
        value=value,
        aim=None if aim is None else str(aim),
        met=None if aim is None or value is None else aim.met(value),
        spread=spread,
        peer=peer,
        threads=threads,
        precision=precision,
        rounds=rounds,
        note=note,
        variant=variant,
        at=at,
    )
