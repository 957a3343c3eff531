import math

import numpy as np
import pytest
from scipy import stats

from attnres_eval.analysis.intervals import Interval, median_interval, t_interval


def test_matches_students_test() -> None:
    values = [0.3, 0.1, 0.45, 0.2]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("values", [[], [1.0], [0.2, 0.2, 0.2]])
def test_no_spread_no_interval(values: list[float]) -> None:
    interval = t_interval(values)
    assert not interval.exists
    assert not interval.contains(values[0] if values else 0.0)


def test_interval_holds_its_ends_and_nothing_beyond() -> None:
    interval = Interval(1.0, 2.0)
    assert interval.exists
    assert interval.contains(1.0)
    assert interval.contains(2.0)
    assert not interval.contains(math.nextafter(2.0, np.inf))


@pytest.mark.parametrize(
    ("n", "k"),
    # One more than the critical values of the two-sided sign test at 5%.
    [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8), (30, 10), (50, 18)],
)
def test_the_median_lies_between_known_ranks(n: int, k: int) -> None:
    values = np.random.default_rng(n).permutation(np.arange(1, n + 1))
    assert median_interval(values) == (k, n + 1 - k)


def test_few_values_bear_no_interval_of_the_median() -> None:
    assert not median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).exists
    assert not median_interval([]).exists


def test_the_medians_interval_covers_a_skew_distribution() -> None:
    draws = np.random.default_rng(0).lognormal(size=(4000, 20))
    held = np.mean([median_interval(draw).contains(1.0) for draw in draws])
    # Exactly 0.959 by the binomial distribution; three standard errors are 0.01.
    assert held == pytest.approx(0.9586, abs=0.01)
