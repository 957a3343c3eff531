"""Contenders take turns, so that a slow moment of the machine hits all of them alike."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Turn = Callable[[], object]
"""What is timed: one step, one pass, one process."""
Times = dict[str, list[float]]
"""Seconds by contender, one a round."""
FEWEST = 5
"""Rounds that slow contenders take, however long they last: fewer have no quartiles to speak of."""


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


@dataclass(frozen=True)
class Pair:
    """Seconds of a contender and of the one that it is held against, turn by turn."""

    own: list[float]
    other: list[float]

    @property
    def ratio(self) -> Measured:
        """The contender's time over the other's, of turns next to each other."""
        return summary([one / other for one, other in zip(self.own, self.other, strict=True)])


def interleave(
    contenders: Mapping[str, Turn],
    rounds: int,
    *,
    warmups: int = 1,
    seconds: float = 0,
    most: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Seconds of each contender in each round; every contender takes one turn a round.

    Args:
        contenders: what to time, by name.
        rounds: timed rounds, at least.
        warmups: turns of each before the first round, which do not count.
        seconds: further rounds follow until all of them took so long: short turns need more.
        most: no round begins after so many seconds, once there are `FEWEST`.
        clock: in seconds.
    """
    _warm(contenders, warmups)
    times: Times = {name: [] for name in contenders}
    for number in _rounds(rounds, seconds, most, clock):
        for name in order(list(contenders), number):
            times[name].append(_timed(contenders[name], clock))
    return times


def beside(
    base: Turn,
    contenders: Mapping[str, Turn],
    rounds: int,
    *,
    warmups: int = 1,
    seconds: float = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Pair]:
    """Seconds of each contender, every turn of it next to one of the base's.

    Neighbours in time share the machine's moods; who of the two goes first changes by the round.

    Args:
        base: what all are held against.
        contenders: the others, by name.
        rounds: timed pairs of each, at least.
        warmups: turns of each before the first round, which do not count.
        seconds: as for `interleave`.
        clock: in seconds.
    """
    _warm({"": base, **contenders}, warmups)
    pairs = {name: Pair([], []) for name in contenders}
    for number in _rounds(rounds, seconds, math.inf, clock):
        for name in order(list(contenders), number):
            pair = pairs[name]
            both = [(base, pair.other), (contenders[name], pair.own)]
            for turn, times in both[:: 1 if number % 2 else -1]:
                times.append(_timed(turn, clock))
    return pairs


def _warm(contenders: Mapping[str, Turn], warmups: int) -> None:
    for _ in range(warmups):
        for turn in contenders.values():
            turn()


def _rounds(rounds: int, seconds: float, most: float, clock: Callable[[], float]) -> Iterator[int]:
    start, number = clock(), 0
    while number < rounds or clock() - start < seconds:
        if number >= FEWEST and clock() - start >= most:
            return
        yield number
        number += 1


def _timed(turn: Turn, clock: Callable[[], float]) -> float:
    start = clock()
    turn()
    return clock() - start


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
