"""L(N, D) = E + A / N^alpha + B / D^beta, as Hoffmann et al. fit it (arXiv:2203.15556, approach 3).

Huber loss with delta 1e-3 on residuals of log loss, the prediction in log-sum-exp form, minimised
by L-BFGS-B from a grid of starts; summed under tight tolerances, which Besiroglu et al.
(arXiv:2404.10102) show to matter. Intervals are theirs too: quantiles over bootstrap samples of the
rows, each refitted from the fit to all. They speak for runs like these, one drawn like another, and
say nothing about how the law departs from the truth.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special

from attnres_eval.analysis.fit import NoFitError
from attnres_eval.analysis.intervals import CONFIDENCE, NO_INTERVAL, Array, Interval
from attnres_eval.analysis.irreducible import HUBER_DELTA, Model, minimise_huber

PARAMETERS = ("e", "a", "alpha", "b", "beta")
MIN_POINTS = 6
"""One more than there are parameters."""
E_SHARE_STARTS = (0.3, 0.6, 0.8, 0.95)
"""E as a share of the lowest loss."""
EXPONENT_STARTS = (0.15, 0.35, 0.8)
A_SHARE_STARTS = (0.3, 0.7)
"""The part of A / N^alpha in what is reducible."""
EXPONENT_BOUNDS = (1e-3, 3.0)
RESAMPLES = 400
SEED = 20260315


@dataclass(frozen=True)
class ParametricFit:
    """The fitted law; losses in nats per token, N parameters, D tokens, as they were given."""

    values: dict[str, float]
    """By the names of `PARAMETERS`."""
    intervals: dict[str, Interval]
    """95%; none where there are objections."""
    n_points: int
    rmse: float
    """Root mean square of the residuals of log loss."""
    objections: tuple[str, ...]
    """Why the rows do not bear the law; empty where they do."""

    def loss(self, parameters: Array, tokens: Array) -> Array:
        """Fitted loss at each pair of N and D."""
        e, a, alpha, b, beta = (self.values[name] for name in PARAMETERS)
        return np.asarray(e + a / parameters**alpha + b / tokens**beta)


def fit_parametric(
    points: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = SEED
) -> ParametricFit:
    """Fits the law to runs of several sizes and lengths.

    Args:
        points: columns params, tokens, loss; one row a run.
        resamples: bootstrap samples behind the intervals.
        seed: of the resampling.

    Raises:
        NoFitError: fewer than six rows, or parameters or tokens that do not vary.
    """
    if len(points) < MIN_POINTS:
        raise NoFitError(f"{len(points)} runs: five parameters need at least {MIN_POINTS}")
    n, d, y = (np.log(points[name].to_numpy(np.float64)) for name in ("params", "tokens", "loss"))
    for name, values in (("params", n), ("tokens", d)):
        if np.unique(values).size < 2:
            raise NoFitError(f"column {name} has one value: its exponent cannot be told")
    if _collinear(n, d):
        raise NoFitError(
            "params and tokens rise together in every run: their exponents cannot be told apart;"
            " add runs of other tokens per parameter"
        )
    problem = _Problem(n, d, y)
    ways = [problem.descend(problem.model(), start) for start in problem.starts()]
    nearest, _ = min(ways, key=lambda way: way[1])
    best, _ = minimise_huber(problem.model(), [nearest], problem.bounds)
    residuals, _ = problem.model()(best)
    objections = problem.objections(best)
    return ParametricFit(
        values=problem.natural(best),
        intervals=problem.intervals(best, 0 if objections else resamples, seed),
        n_points=len(y),
        rmse=math.sqrt(float(np.mean(residuals**2))),
        objections=objections,
    )


class _Problem:
    """The law in coordinates that suit the optimiser: logarithms, about their means.

    Its parameters are log A and log B at the mean of log N and log D, log E, alpha, beta.
    """

    def __init__(self, n: Array, d: Array, y: Array) -> None:
        self.n, self.d, self.y = n - n.mean(), d - d.mean(), y
        self.centres = float(n.mean()), float(d.mean())
        lowest = float(y.min())
        free = (lowest - 20.0, float(y.max()) + 5.0)
        self.bounds = [free, free, (lowest - 10.0, lowest - 1e-6)] + [EXPONENT_BOUNDS] * 2

    def model(self, rows: np.ndarray | slice = slice(None)) -> Model:
        """Residuals of log loss and their Jacobian, of some rows."""
        n, d, y = self.n[rows], self.d[rows], self.y[rows]

        def residuals(parameters: Array) -> tuple[Array, Array]:
            log_a, log_b, log_e, alpha, beta = parameters
            terms = np.stack([log_a - alpha * n, log_b - beta * d, np.full_like(y, log_e)])
            predicted = special.logsumexp(terms, axis=0)
            of_a, of_b, of_e = np.exp(terms - predicted)
            jacobian = np.column_stack([of_a, of_b, of_e, -n * of_a, -d * of_b])
            return predicted - y, jacobian

        return residuals

    def starts(self) -> list[Array]:
        """A grid over E, the exponents, and how the rest divides between N and D."""
        middle, lowest = math.exp(float(np.median(self.y))), math.exp(float(self.y.min()))
        grid = itertools.product(E_SHARE_STARTS, A_SHARE_STARTS, EXPONENT_STARTS, EXPONENT_STARTS)
        return [
            np.array(
                [
                    math.log(share * (middle - of_e * lowest)),
                    math.log((1 - share) * (middle - of_e * lowest)),
                    math.log(of_e * lowest),
                    alpha,
                    beta,
                ]
            )
            for of_e, share, alpha, beta in grid
        ]

    def descend(self, model: Model, start: Array) -> tuple[Array, float]:
        """The minimum of the summed Huber loss that a start leads to, and the loss there.

        By trust regions, which use that the loss is of residuals: a hundredth of the steps that
        L-BFGS takes down this valley, where E, A and B make up for each other.
        """
        low, high = np.array(self.bounds).T
        found = optimize.least_squares(
            lambda parameters: model(parameters)[0],
            np.clip(start, low + 1e-9, high - 1e-9),
            jac=lambda parameters: model(parameters)[1],
            bounds=(low, high),
            loss="huber",
            f_scale=HUBER_DELTA,
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
            max_nfev=200,
        )
        return np.asarray(found.x, dtype=np.float64), float(found.cost)

    def natural(self, best: Array) -> dict[str, float]:
        """The five numbers of the law."""
        log_a, log_b, log_e, alpha, beta = (float(x) for x in best)
        centre_n, centre_d = self.centres
        logs = log_a + alpha * centre_n, log_b + beta * centre_d
        values = (math.exp(log_e), math.exp(logs[0]), alpha, math.exp(logs[1]), beta)
        return dict(zip(PARAMETERS, values, strict=True))

    def intervals(self, best: Array, resamples: int, seed: int) -> dict[str, Interval]:
        """Quantiles over bootstrap samples in which both N and D vary."""
        random = np.random.default_rng(seed)
        drawn: list[dict[str, float]] = []
        for _ in range(resamples):
            rows = random.integers(0, len(self.y), len(self.y))
            if not _collinear(self.n[rows], self.d[rows]):
                found, _ = self.descend(self.model(rows), best)
                drawn.append(self.natural(found))
        if not drawn:
            return dict.fromkeys(PARAMETERS, NO_INTERVAL)
        ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        return {
            name: Interval(*(float(q) for q in np.quantile([one[name] for one in drawn], ends)))
            for name in PARAMETERS
        }

    def objections(self, best: Array) -> tuple[str, ...]:
        """What ended at a bound, and so is no estimate."""
        names = ("a", "b", "e", "alpha", "beta")
        return tuple(
            f"{name} ends at a bound"
            for name, value, (low, high) in zip(names, best, self.bounds, strict=True)
            if min(value - low, high - value) < 1e-3 * (high - low)
        )


def _collinear(n: Array, d: Array) -> bool:
    """Whether log N and log D lie on a line, one of them constant included."""
    if np.ptp(n) == 0 or np.ptp(d) == 0:
        return True
    return bool(abs(np.corrcoef(n, d)[0, 1]) > 1 - 1e-9)
