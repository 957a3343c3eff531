"""Turns, their order, and the ratios of their times, on a clock that the contenders move."""

import math
from collections.abc import Callable

import pytest

from attnres_eval.bench.rounds import Pair, beside, interleave, once, order, ratio, summary


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.seen: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, seconds: float) -> Callable[[], None]:
        def turn() -> None:
            self.seen.append(name)
            self.now += seconds

        return turn


def test_a_contender_over_itself_is_one_and_twice_the_time_is_two() -> None:
    clock = Clock()
    turns = {
        "one": clock.contender("one", 0.5),
        "same": clock.contender("same", 0.5),
        "twice": clock.contender("twice", 1.0),
    }
    times = interleave(turns, 5, clock=clock)
    assert {name: len(seconds) for name, seconds in times.items()} == dict.fromkeys(turns, 5)
    assert ratio(times, "same", "one") == ratio(times, "one", "one")
    assert (ratio(times, "one", "one").value, ratio(times, "one", "one").spread) == (1, 0)
    assert ratio(times, "twice", "one").value == 2


def test_everyone_takes_one_turn_a_round_and_goes_first_in_turn() -> None:
    clock = Clock()
    turns = {name: clock.contender(name, 1.0) for name in "abc"}
    interleave(turns, 6, warmups=2, clock=clock)
    assert clock.seen[:6] == [*"abcabc"]
    rounds = ["".join(clock.seen[6 + 3 * i : 9 + 3 * i]) for i in range(6)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert {one[0] for one in rounds} == {"a", "b", "c"}
    assert {"ab", "ba"} <= {one[i : i + 2] for one in rounds for i in (0, 1)}
    assert rounds == ["".join(order([*"abc"], i)) for i in range(6)]


def test_ratios_are_taken_round_by_round() -> None:
    times = {"one": [1.0, 10.0, 1.0], "other": [2.0, 20.0, 2.0]}
    assert ratio(times, "other", "one").value == 2
    assert ratio(times, "other", "one").spread == 0


def test_every_turn_stands_next_to_one_of_the_base() -> None:
    clock = Clock()
    base = clock.contender("base", 2.0)
    turns = {"same": clock.contender("same", 2.0), "half": clock.contender("half", 1.0)}
    pairs = beside(base, turns, 4, warmups=1, clock=clock)
    assert clock.seen[:3] == ["base", "same", "half"]
    assert len(clock.seen) == 3 + 4 * 4
    couples = [tuple(clock.seen[3 + 2 * i : 5 + 2 * i]) for i in range(8)]
    assert all("base" in couple for couple in couples)
    # Each of a pair goes first in turn.
    assert {("base", "half"), ("half", "base"), ("base", "same"), ("same", "base")} == set(couples)
    assert pairs == {"same": Pair([2.0] * 4, [2.0] * 4), "half": Pair([1.0] * 4, [2.0] * 4)}
    assert (pairs["same"].ratio.value, pairs["half"].ratio.value) == (1, 0.5)


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 3), (9.0, 3), (9.1, 4), (20.0, 7)])
def test_rounds_go_on_until_they_took_long_enough(seconds: float, rounds: int) -> None:
    clock = Clock()
    turns = {"one": clock.contender("one", 1.0), "two": clock.contender("two", 2.0)}
    times = interleave(turns, 3, seconds=seconds, clock=clock)
    assert {name: len(taken) for name, taken in times.items()} == {"one": rounds, "two": rounds}
    pairs = beside(turns["one"], {"two": turns["two"]}, 3, seconds=seconds, clock=clock)
    assert len(pairs["two"].own) == len(pairs["two"].other) == rounds


@pytest.mark.parametrize(
    ("rounds", "most", "taken"), [(9, 0, 5), (9, 20.9, 7), (9, 99, 9), (3, 0, 3)]
)
def test_slow_rounds_end_early_though_not_before_the_fifth(
    rounds: int, most: float, taken: int
) -> None:
    clock = Clock()
    turns = {"one": clock.contender("one", 1.0), "two": clock.contender("two", 2.0)}
    assert len(interleave(turns, rounds, most=most, clock=clock)["two"]) == taken


def test_summary_is_median_and_quartiles() -> None:
    measured = summary([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (measured.value, measured.spread) == (3.0, 2.0)


@pytest.mark.parametrize("measured", [once(2.0), summary([2.0])])
def test_one_measurement_has_no_spread(measured: object) -> None:
    assert measured.value == 2.0  # type: ignore[attr-defined]
    assert math.isnan(measured.spread)  # type: ignore[attr-defined]
