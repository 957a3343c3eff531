"""Contenders take turns, so that a slow moment of the machine hits all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Turn = Callable[[], object]
"""What is timed: one step, one pass, one process."""
Times = dict[str, list[float]]
"""Seconds by contender, one a round."""


@dataclass(frozen=True)
class Measured:
    """A median over rounds, and the interquartile range around it."""

    value: float
    spread: float


def order(names: Sequence[str], number: int) -> list[str]:
    """Who goes when in a round: each first in turn, and backwards in every other round.

    So nobody always runs behind the same neighbour, whose data fill the caches.
    """
    start = number % len(names)
    rotated = [*names[start:], *names[:start]]
    return rotated[::-1] if number % 2 else rotated


def interleave(
    contenders: Mapping[str, Turn],
    rounds: int,
    *,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Seconds of each contender in each round; every contender takes one turn a round.

    Args:
        contenders: what to time, by name.
        rounds: timed rounds.
        warmups: turns of each before the first round, which do not count.
        clock: in seconds.
    """
    for _ in range(warmups):
        for turn in contenders.values():
            turn()
    times: Times = {name: [] for name in contenders}
    for number in range(rounds):
        for name in order(list(contenders), number):
            start = clock()
            contenders[name]()
            times[name].append(clock() - start)
    return times


def once(value: float) -> Measured:
    """What was measured a single time: its spread is not known, and NaN."""
    return Measured(value, math.nan)


def summary(values: Sequence[float]) -> Measured:
    """Median and interquartile range."""
    if len(values) < 2:
        return once(values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Measured(middle, high - low)


def ratio(times: Times, name: str, over: str) -> Measured:
    """A contender's time over another's, round by round."""
    pairs = zip(times[name], times[over], strict=True)
    return summary([one / other for one, other in pairs])
