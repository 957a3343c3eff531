"""Power laws L = a C^-alpha by least squares on logarithms.

Compute is the column `compute` of a frame, which says what is held equal
(`attnres_eval.analysis.axes`): PFLOP/s-days, so that `a` compares with published fits, or seconds.
The default model gives all variants one exponent and each its own `a`; a fit of one variant alone
is the same model with one label.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attnres_eval.analysis.intervals import NO_INTERVAL, Array, Interval, t_quantile
from attnres_eval.errors import UserError

LEAST_RANGE = 1.5
"""Compute over which a power law is fitted, greatest over least: less shows no exponent."""


class NoFitError(UserError):
    """The runs bear no power law."""


@dataclass(frozen=True)
class PowerFit:
    """log L = log_a[label] - alpha log C + noise.

    `covariance` is that of (log_a of each label in order, alpha) under independent residuals of
    equal size; NaN where there are no degrees of freedom left.
    """

    labels: tuple[str, ...]
    log_a: Array
    alpha: float
    covariance: Array
    degrees_of_freedom: int
    n_points: int
    rmse: float
    """Root mean square of the residuals of log loss."""
    r2: float
    """Share of the variance of log loss that the fit explains."""

    def log_loss(self, label: str, compute: Array | float) -> Array:
        """Fitted log of the loss in nats per token."""
        x = np.log(np.asarray(compute, dtype=np.float64))
        return np.asarray(self.log_a[self.labels.index(label)] - self.alpha * x)

    def band(self, label: str, compute: Array) -> tuple[Array, Array]:
        """95% interval of the fitted loss, nats per token, at each compute; NaN if none."""
        x = np.log(compute)
        index = self.labels.index(label)
        variance = (
            self.covariance[index, index]
            - 2 * x * self.covariance[index, -1]
            + x**2 * self.covariance[-1, -1]
        )
        reach = self._quantile * np.sqrt(variance)
        centre = self.log_loss(label, compute)
        return np.exp(centre - reach), np.exp(centre + reach)

    @property
    def alpha_interval(self) -> Interval:
        """95% interval of the exponent from the residuals."""
        return self._interval(self.alpha, -1)

    def a_interval(self, label: str) -> Interval:
        """95% interval of `a` from the residuals."""
        index = self.labels.index(label)
        log = self._interval(float(self.log_a[index]), index)
        return Interval(math.exp(log.low), math.exp(log.high))

    @property
    def _quantile(self) -> float:
        return t_quantile(self.degrees_of_freedom) if self.degrees_of_freedom else math.nan

    def _interval(self, value: float, index: int) -> Interval:
        if not self.degrees_of_freedom:
            return NO_INTERVAL
        reach = self._quantile * math.sqrt(self.covariance[index, index])
        return Interval(value - reach, value + reach)


def fit_power(points: pd.DataFrame) -> PowerFit:
    """Fits one exponent and one factor per label.

    Args:
        points: columns label, compute, loss (nats per token); one row a run.

    Raises:
        NoFitError: no label's runs span enough compute, or the loss does not fall with compute.
    """
    labels = tuple(dict.fromkeys(points["label"]))
    index = np.array([labels.index(label) for label in points["label"]])
    x = np.log(points["compute"].to_numpy(np.float64))
    y = np.log(points["loss"].to_numpy(np.float64))
    span = math.exp(max(np.ptp(x[index == i]) for i in range(len(labels))))
    if span == 1:
        raise NoFitError("a power law needs runs of at least two sizes")
    if span < LEAST_RANGE:
        raise NoFitError(
            f"a power law needs compute over a factor of {LEAST_RANGE:g}; these runs span"
            f" {span:.2f}"
        )
    design = np.column_stack([index[:, None] == np.arange(len(labels)), -x]).astype(np.float64)
    solution, *_ = np.linalg.lstsq(design, y, rcond=None)
    alpha = float(solution[-1])
    if alpha <= 0:
        raise NoFitError(
            f"the loss does not fall with compute (exponent {alpha:.3g}), so compute multipliers"
            " mean nothing here; train longer or check the learning rate"
        )
    residuals = y - design @ solution
    freedom = len(y) - design.shape[1]
    squares = float(residuals @ residuals)
    variance = squares / freedom if freedom else math.nan
    normal: Array = (design.T @ design).astype(np.float64)
    return PowerFit(
        labels=labels,
        log_a=solution[:-1],
        alpha=alpha,
        covariance=np.asarray(variance * np.linalg.inv(normal), dtype=np.float64),
        degrees_of_freedom=freedom,
        n_points=len(y),
        rmse=math.sqrt(squares / len(y)),
        r2=1 - squares / float(np.sum((y - y.mean()) ** 2)),
    )
