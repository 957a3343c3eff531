"""By what power a cost grows, with an interval that resamples the rounds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
RESAMPLES = 1000
LEAST_POINTS = 3


@dataclass(frozen=True)
class Power:
    """A fitted exponent and its 95% interval."""

    exponent: float
    low: float
    high: float


def slope(x: Array, y: Array) -> float:
    """The least-squares slope of log y over log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def fit_power(x: Array, rounds_PR: Array, seed: int = 0) -> Power | None:
    """The exponent of the medians over rounds.

    Args:
        x: P points.
        rounds_PR: a cost at each point in each of R rounds.
        seed: of the resampling.

    Returns:
        None where fewer than three points have a positive median: a cost that is lost in noise
        has no exponent.
    """
    kept = np.median(rounds_PR, axis=1) > 0
    if kept.sum() < LEAST_POINTS:
        return None
    points, values = x[kept], rounds_PR[kept]
    rng = np.random.default_rng(seed)
    slopes = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, values.shape[1], values.shape)
        medians = np.median(np.take_along_axis(values, drawn, axis=1), axis=1)
        if (medians > 0).all():
            slopes.append(slope(points, medians))
    exponent = slope(points, np.median(values, axis=1))
    low, high = np.quantile(slopes, [0.025, 0.975]) if slopes else (np.nan, np.nan)
    return Power(exponent, float(low), float(high))
