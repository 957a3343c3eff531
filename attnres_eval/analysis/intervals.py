"""Intervals for means of a few numbers."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of every interval of this package."""


class Interval(NamedTuple):
    """A two-sided interval; both ends are NaN where the data bear none."""

    low: float
    high: float

    @property
    def exists(self) -> bool:
        """Whether there is an interval at all."""
        return not math.isnan(self.low)

    def contains(self, value: float) -> bool:
        """Whether `value` lies inside; never where there is no interval."""
        return self.low <= value <= self.high


NO_INTERVAL = Interval(math.nan, math.nan)


def t_quantile(degrees_of_freedom: float, comparisons: int = 1) -> float:
    """How many standard errors a two-sided 95% interval reaches to each side.

    With several comparisons (Bonferroni), 95% is the least chance that all of them hold.
    """
    return float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / comparisons, degrees_of_freedom))


def median_interval(values: ArrayLike) -> Interval:
    """A 95% interval for the median of independent values, of whatever distribution.

    Its ends are order statistics (of 6 values the least and the greatest); it holds the median in
    at least 95% of cases. None for fewer than six values.
    """
    numbers = np.sort(np.asarray(values, dtype=np.float64))
    n = numbers.size
    # The median misses x_(k) to x_(n+1-k) with probability 2 P(Bin(n, 1/2) < k).
    outside = 2 * stats.binom.cdf(np.arange(n // 2), n, 0.5)
    k = int(np.sum(outside <= 1 - CONFIDENCE))
    return Interval(float(numbers[k - 1]), float(numbers[n - k])) if k else NO_INTERVAL


def t_interval(values: ArrayLike) -> Interval:
    """Student's 95% interval for the mean of independent values.

    None for fewer than two values, and none where they are all equal: identical values say that
    the spread was not seen, not that it is zero.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size < 2 or np.all(numbers == numbers[0]):
        return NO_INTERVAL
    error = float(np.std(numbers, ddof=1)) / math.sqrt(numbers.size)
    reach = t_quantile(numbers.size - 1) * error
    mean = float(np.mean(numbers))
    return Interval(mean - reach, mean + reach)
