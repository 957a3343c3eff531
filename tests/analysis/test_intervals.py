import math

import numpy as np
import pytest
from scipy import stats

from attnres_eval.analysis.intervals import Interval, t_interval


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
