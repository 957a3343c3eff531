"""L = E + a C^-alpha, one E and one exponent for all labels, where the data bear it.

Huber loss with delta 1e-3 on residuals of log loss, the prediction in log-sum-exp form, minimised
by L-BFGS-B from a grid of starts (Hoffmann et al., arXiv:2203.15556), the best of whose minima is
refined by Newton's steps. The loss is summed, not averaged, and the tolerances are tight:
Besiroglu et al. (arXiv:2404.10102) show that averaging under default tolerances stops the
optimiser early.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, optimize, sparse, special, stats

from attnres_eval.analysis.fit import NoFitError, fit_power
from attnres_eval.analysis.intervals import Array

HUBER_DELTA = 1e-3
FIRST_ITERATIONS = 40
MOST_FINISHED = 3
"""Of all starts, after so many iterations, the best are followed to their ends."""
MOST_REFINEMENTS = 8
DIFFERENCE = 1e-7
"""Of a parameter, for the Hessian: far less than moves a residual by `HUBER_DELTA`."""
MIN_SIZES = 4
SIGNIFICANCE = 0.05
"""Of the F-test by which E has to improve on the plain power law."""

Model = Callable[[Array], tuple[Array, Any]]
"""Parameters (k,) to residuals (n,) and their Jacobian (n, k), dense or sparse."""


def minimise_huber(
    model: Model, starts: Iterable[Array], bounds: list[tuple[float, float]]
) -> tuple[Array, float]:
    """The best minimum over all starts of the summed Huber loss.

    Args:
        model: residuals and Jacobian at a point.
        starts: where to begin, (k,) each.
        bounds: of each parameter.

    Returns:
        The parameters, and the summed loss there in units of delta squared.
    """

    def loss(parameters: Array) -> tuple[float, Array]:
        residuals, jacobian = model(parameters)
        # In units of delta squared the sum is of order n, where L-BFGS-B's tolerances bite.
        scaled = residuals / HUBER_DELTA
        total = float(np.sum(special.huber(1.0, scaled)))
        return total, jacobian.T @ (np.clip(scaled, -1.0, 1.0) / HUBER_DELTA)

    def descend(start: Array, iterations: int) -> Any:
        return optimize.minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={
                "ftol": 1e-14,
                "gtol": 1e-10,
                "maxiter": iterations,
                "maxfun": 20000,
                "maxcor": 30,
            },
        )

    begun = sorted((descend(start, FIRST_ITERATIONS) for start in starts), key=lambda f: f.fun)
    best = min((descend(found.x, 5000) for found in begun[:MOST_FINISHED]), key=lambda f: f.fun)
    refined = _refined(lambda point: loss(point)[1], best.x, np.array(bounds))
    return refined, loss(refined)[0]


def _refined(gradient: Callable[[Array], Array], start: Array, bounds: Array) -> Array:
    """A minimum to the last digits, by Newton's steps from where L-BFGS-B stopped.

    That is where the loss falls no more: as it falls by the square of the distance, some 1e-8
    away, and elsewhere on a processor that sums in another order. Tables would show it.

    Args:
        gradient: of the loss at a point, (k,).
        start: near a minimum, (k,).
        bounds: (k, 2); a minimum at one of them is left as it is.
    """
    point, slope = np.asarray(start, dtype=np.float64), gradient(start)
    for _ in range(MOST_REFINEMENTS):
        ends = point[:, None] + DIFFERENCE * np.stack([np.eye(len(point)), -np.eye(len(point))])
        above, below = (np.column_stack([gradient(end) for end in side.T]) for side in ends)
        hessian = (above - below + (above - below).T) / (4 * DIFFERENCE)
        try:
            moved = point - linalg.cho_solve(linalg.cho_factor(hessian), slope)
        except linalg.LinAlgError:  # flat or a saddle in some direction, so no minimum to refine
            break
        if not np.all((bounds[:, 0] < moved) & (moved < bounds[:, 1])):
            break
        slope_there = gradient(moved)
        if not np.linalg.norm(slope_there) < np.linalg.norm(slope):
            break
        point, slope = moved, slope_there
    return point


@dataclass(frozen=True)
class IrreducibleFit:
    """L = e + a[label] C^-alpha, in nats per token."""

    labels: tuple[str, ...]
    e: float
    log_a: Array
    alpha: float
    n_points: int
    rmse: float
    """Root mean square of the residuals of log loss."""
    r2: float
    objections: tuple[str, ...]
    """Why the data do not bear it; empty where they do."""

    @property
    def borne(self) -> bool:
        """Whether the data bear an irreducible loss."""
        return not self.objections

    def log_multiplier(self, label: str, baseline: str) -> float:
        """Log of the compute multiplier, the same at every compute: E cancels."""
        labels = self.labels
        difference = self.log_a[labels.index(baseline)] - self.log_a[labels.index(label)]
        return float(difference / self.alpha)


ALPHA_BOUNDS = (1e-3, 3.0)
E_SHARE_BOUNDS = (1e-4, 1 - 1e-6)
"""E as a share of the lowest loss."""
E_STARTS = (0.05, 0.3, 0.6, 0.8, 0.95)
ALPHA_STARTS = (0.05, 0.15, 0.3, 0.6)


def fit_irreducible(points: pd.DataFrame) -> IrreducibleFit:
    """Fits the model and says whether the data bear it.

    The data bear it when there are at least four sizes, neither E nor the exponent ends at a
    bound, and E improves on the plain power law by an F-test at 5% (both by least squares on log
    loss).

    Args:
        points: columns label, size, compute, loss (nats per token); one row a run.

    Raises:
        NoFitError: fewer than four sizes, or a loss that does not fall with compute.
    """
    sizes = points["size"].nunique()
    if sizes < MIN_SIZES:
        raise NoFitError(f"{sizes} sizes, fewer than {MIN_SIZES}")
    plain = fit_power(points)
    labels = plain.labels
    index = np.array([labels.index(label) for label in points["label"]])
    x = np.log(points["compute"].to_numpy(np.float64))
    centre = float(x.mean())
    x = x - centre
    y = np.log(points["loss"].to_numpy(np.float64))
    indicator = (index[:, None] == np.arange(len(labels))).astype(np.float64)
    # A run's residual depends on three parameters, however many labels there are.
    shape = (len(y), len(labels) + 2)
    ones = np.ones_like(index)
    columns = np.column_stack([index, ones * len(labels), ones * (len(labels) + 1)])
    rows = np.arange(0, columns.size + 1, 3)

    def model(parameters: Array) -> tuple[Array, Array]:
        log_a, log_e, alpha = parameters[:-2], parameters[-2], parameters[-1]
        reducible = log_a[index] - alpha * x
        share = special.expit(reducible - log_e)
        slopes = np.column_stack([share, 1 - share, -x * share])
        jacobian = sparse.csr_array((slopes.ravel(), columns.ravel(), rows), shape=shape)
        return np.logaddexp(reducible, log_e) - y, jacobian

    lowest = float(y.min())
    e_bounds = (lowest + math.log(E_SHARE_BOUNDS[0]), lowest + math.log(E_SHARE_BOUNDS[1]))
    bounds = [(lowest - 20.0, float(y.max()) + 5.0)] * len(labels) + [e_bounds, ALPHA_BOUNDS]
    starts = []
    for share, alpha in itertools.product(E_STARTS, ALPHA_STARTS):
        reducible = np.log(np.exp(y) - share * math.exp(lowest)) + alpha * x
        log_a = indicator.T @ reducible / indicator.sum(axis=0)
        starts.append(np.array([*log_a, lowest + math.log(share), alpha]))
    best, _ = minimise_huber(model, starts, bounds)
    residuals, _ = model(best)
    log_e, alpha = float(best[-2]), float(best[-1])

    objections = []
    p_value = _f_test(model, best, plain.rmse**2 * plain.n_points, len(y))
    if _near(log_e, e_bounds) or _near(alpha, ALPHA_BOUNDS):
        objections.append("the fit ends at a bound")
    elif not p_value < SIGNIFICANCE:
        objections.append(f"it does not improve on the power law (F-test, p = {p_value:.2g})")
    squares = float(residuals @ residuals)
    return IrreducibleFit(
        labels=labels,
        e=math.exp(log_e),
        log_a=best[:-2] + alpha * centre,
        alpha=alpha,
        n_points=len(y),
        rmse=math.sqrt(squares / len(y)),
        r2=1 - squares / float(np.sum((y - y.mean()) ** 2)),
        objections=tuple(objections),
    )


def _near(value: float, bounds: tuple[float, float]) -> bool:
    return min(value - bounds[0], bounds[1] - value) < 1e-3 * (bounds[1] - bounds[0])


def _f_test(model: Model, start: Array, plain_squares: float, n_points: int) -> float:
    """p-value of one parameter more; 1 where no degrees of freedom are left."""
    freedom = n_points - len(start)
    if freedom < 1:
        return 1.0
    refined = optimize.least_squares(
        lambda p: model(p)[0],
        start,
        jac=lambda p: model(p)[1].toarray(),
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    )
    squares = 2 * float(refined.cost)
    statistic = max(0.0, plain_squares - squares) / (max(squares, 1e-300) / freedom)
    return float(stats.f.sf(statistic, 1, freedom))
