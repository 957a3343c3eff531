"""How often the intervals hold the truth, simulated for the design at hand.

Log losses are drawn as log L = log a_v - alpha log C + u + e: u is common to the runs of one seed
and size (same data, same start), e is each run's own. Both standard deviations are estimated from
the runs. Every drawn study is fitted again from scratch, exponent included, so the exponent's
error is in the answer. Departures of the curves from power laws are not: the intervals speak for
new seeds at these sizes.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from attnres_eval.analysis.fit import NoFitError, fit_power
from attnres_eval.analysis.intervals import Array, t_quantile
from attnres_eval.analysis.multiplier import FREE, PER_PAIR, SHARED
from attnres_eval.analysis.pooled import distinct, standing_apart

DRAWS = 4000
MOST_LOSSES = 4_000_000
"""Losses that are drawn in all: fewer studies where a study has over a thousand runs."""
LEAST_DRAWS = 400
SEED = 20260315


@dataclass(frozen=True)
class Noise:
    """Standard deviations of log loss."""

    own: float
    """Of one run: what a difference between two variants of one seed carries, over sqrt(2)."""
    common: float
    """Common to all variants of one seed and size; differences between variants cancel it."""


@dataclass(frozen=True)
class Coverage:
    """Share of simulated intervals that hold the true multiplier."""

    share: float
    error: float
    """Monte Carlo standard error of `share`."""


def estimate_noise(runs: pd.DataFrame, baseline: str) -> Noise | None:
    """Noise by a two-way layout (label x seed) within each size.

    A variant whose seeds stand apart at a size, one of whose runs diverged say, is left out there
    (`attnres_eval.analysis.pooled.standing_apart`), and labels of one model count once.

    Args:
        runs: finished runs with columns label, size, seed, loss.
        baseline: its label.

    Returns:
        None where no size has two seeds with at least two labels each.
    """
    own_squares, own_freedom, seed_squares, seed_freedom, labels = 0.0, 0, 0.0, 0, 0
    for _, part in runs.groupby("size"):
        apart = standing_apart(part, baseline)
        alike = distinct(part[~part["label"].isin(apart)])
        table = alike.pivot_table(index="label", columns="seed", values="loss").dropna(axis=1)
        n_labels, n_seeds = table.shape
        if n_labels < 2 or n_seeds < 2:
            continue
        y = np.log(table.to_numpy(np.float64))
        rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
        own_squares += float(np.sum((y - rows - columns + y.mean()) ** 2))
        own_freedom += (n_labels - 1) * (n_seeds - 1)
        seed_squares += n_labels * float(np.sum((columns - y.mean()) ** 2))
        seed_freedom += n_seeds - 1
        labels = max(labels, n_labels)
    if not own_freedom:
        return None
    own = own_squares / own_freedom
    common = max(0.0, seed_squares / seed_freedom - own) / labels
    return Noise(math.sqrt(own), math.sqrt(common))


def simulate_coverage(
    runs: pd.DataFrame,
    baseline: str,
    targets: dict[str, float],
    *,
    draws: int = DRAWS,
    noise: Noise | None = None,
) -> dict[tuple[str, str], Coverage]:
    """Coverage of the intervals over seeds and over pairs, by (label, model).

    The design is every label that ran at all sizes of the baseline, with every seed of `runs`; the
    truth is the shared exponent model fitted to them. A draw whose exponent is not positive counts
    as a miss.

    Args:
        runs: finished runs with columns label, size, seed, compute, loss.
        baseline: the label to compare with.
        targets: compute at which each label is compared.
        draws: simulated studies, at most.
        noise: what to draw; estimated from the runs by default.

    Returns:
        Nothing for a label that lacks a size. Empty where there is no fit, no run of the baseline,
        no noise estimate, one seed, or fewer than two sizes.
    """
    noise = noise or estimate_noise(runs, baseline)
    try:
        truth = fit_power(runs)
    except NoFitError:
        return {}
    if baseline not in truth.labels:
        return {}
    computes = runs.pivot_table(index="label", columns="size", values="compute")
    computes = computes.loc[:, computes.loc[baseline].notna()].reindex(truth.labels).dropna()
    n_seeds = runs["seed"].nunique()
    if noise is None or n_seeds < 2 or computes.shape[1] < 2 or noise.own == 0:
        return {}
    x = np.log(computes.to_numpy(np.float64))
    labels = list(computes.index)
    log_a = truth.log_a[[truth.labels.index(label) for label in labels]]
    draws = min(draws, max(LEAST_DRAWS, MOST_LOSSES // (n_seeds * x.size)))
    drawn = Drawn(x, log_a, truth.alpha, noise, n_seeds, draws)
    b = labels.index(baseline)
    covered: dict[tuple[str, str], Coverage] = {}
    for v, label in enumerate(labels):
        if v == b:
            continue
        true_log = float((log_a[b] - log_a[v]) / truth.alpha)
        for model, estimates in drawn.log_multipliers(b, v, targets[label]).items():
            inside = estimates.holds(true_log)
            share = float(np.mean(inside))
            covered[label, model] = Coverage(share, math.sqrt(share * (1 - share) / draws))
    return covered


@dataclass(frozen=True)
class Estimates:
    """One model's estimates of log M in simulated studies."""

    logs: Array
    """(draws, n): those that an interval is taken over."""
    usable: npt.NDArray[np.bool_]
    """(draws,): whether the exponents were positive; there is no multiplier where they were not."""

    @property
    def centre(self) -> Array:
        """(draws,): the estimate of each study."""
        return np.asarray(self.logs.mean(axis=1))

    @property
    def reach(self) -> Array:
        """(draws,): how far its interval goes to each side."""
        n = self.logs.shape[1]
        return np.asarray(t_quantile(n - 1) * self.logs.std(axis=1, ddof=1) / math.sqrt(n))

    def holds(self, log: float) -> npt.NDArray[np.bool_]:
        """(draws,): whether there is an interval, and the number is in it."""
        return np.asarray((np.abs(self.centre - log) <= self.reach) & self.usable)


class Drawn:
    """Simulated studies of every label at every size with every seed, each fitted from scratch."""

    def __init__(
        self, x_VS: Array, log_a_V: Array, alpha: float, noise: Noise, n_seeds: int, draws: int
    ) -> None:
        """Draws them.

        Args:
            x_VS: log compute of V labels at S sizes.
            log_a_V: true factor of each label; only differences matter.
            alpha: true exponent.
            noise: of log loss.
            n_seeds: seeds of each study.
            draws: studies.
        """
        n_labels, n_sizes = x_VS.shape
        random = np.random.default_rng(SEED)
        # (draws, seeds, labels, sizes); plain power laws in natural units.
        self._y = (
            (log_a_V[:, None] - alpha * x_VS)
            + noise.common * random.standard_normal((draws, n_seeds, 1, n_sizes))
            + noise.own * random.standard_normal((draws, n_seeds, n_labels, n_sizes))
        )
        deviation = x_VS - x_VS.mean(axis=1, keepdims=True)
        squares = np.sum(deviation**2, axis=1)
        self._x = x_VS
        self._own_alpha = -np.sum(self._y * deviation, axis=-1) / squares
        self._seed_alpha = -np.sum(self._y * deviation, axis=(-2, -1)) / squares.sum()

    def log_multipliers(self, b: int, v: int, target: float) -> dict[str, Estimates]:
        """Estimates of log M of label `v` over label `b` by model, the free one at a compute."""
        x, y, own_alpha, seed_alpha = self._x, self._y, self._own_alpha, self._seed_alpha
        pooled_alpha = seed_alpha.mean(axis=1)
        compute = x[b] - x[v]
        loss = y[:, :, b] - y[:, :, v]
        shared = compute.mean() + loss.mean(axis=-1) / seed_alpha
        pairs = compute + loss / pooled_alpha[:, None, None]
        at = math.log(target)
        curves = [
            y[:, :, k].mean(axis=-1) - own_alpha[:, :, k] * (at - x[k].mean()) for k in (b, v)
        ]
        free = (curves[0] - curves[1]) / own_alpha[:, :, b]
        return {
            SHARED: Estimates(shared, seed_alpha.min(axis=1) > 0),
            PER_PAIR: Estimates(pairs.reshape(len(y), -1), pooled_alpha > 0),
            FREE: Estimates(free, own_alpha[:, :, [b, v]].min(axis=(1, 2)) > 0),
        }
