"""Compute multipliers: what the baseline would have to spend for a variant's loss.

M(C) = C_b(L_v(C)) / C, where L_v is the variant's loss at compute C and C_b the compute at which
the baseline's curve reaches it. M above 1 is a saving. Compute is the column `compute` of the runs:
what is held equal, FLOPs or calibrated seconds (`attnres_eval.analysis.axes`).

For one pair of runs (same seed and size; the computes C_v and C_b differ by the residual's own
cost), moving along a curve of exponent alpha,

    log M = log(C_b / C_v) + (log L_b - log L_v) / alpha.

Models, each a row of the table:

- shared exponent (the default): for each seed, one exponent is fitted to that seed's runs of all
  variants and log M is the mean over its pairs, which is what the least-squares factors give.
  The interval is Student's over the seeds' log M, so the exponent's own spread over seeds is in
  it. It speaks for new seeds at these sizes, not for new sizes.
- shared exponent, per pair: the exponent is fitted to all runs and held; the interval is over all
  pairs, sizes included. It has more degrees of freedom and leaves the exponent's error out.
- free exponents: for each seed each variant has its own exponent, M taken at the target compute.
- shared exponent, irreducible loss: L = E + a C^-alpha with one E, only where the data bear it.
"""

import math
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from attnres_eval.analysis.fit import NoFitError, PowerFit, fit_power
from attnres_eval.analysis.intervals import NO_INTERVAL, Array, Interval, t_interval
from attnres_eval.analysis.irreducible import IrreducibleFit, fit_irreducible
from attnres_eval.labels import OWN

SHARED = "shared exponent"
PER_PAIR = "shared exponent, per pair"
FREE = "free exponents"
IRREDUCIBLE = "shared exponent, irreducible loss"
BOTH_OWN = "shared exponent, both at their own rates"
MODELS = (SHARED, PER_PAIR, FREE, IRREDUCIBLE)
"""Of `multipliers`, in the order of their rows."""

MIN_SIZES = 3
"""Fewer sizes bear no interval."""


@dataclass(frozen=True)
class Multiplier:
    """One variant's compute multiplier under one model."""

    label: str
    model: str
    target: float
    """In the unit of the runs' column `compute`."""
    value: float
    """NaN where the runs bear none."""
    interval: Interval
    n_seeds: int
    n_sizes: int
    extrapolated: bool
    """Whether the target lies outside the compute that both curves were fitted to."""
    note: str


def pair_runs(runs: pd.DataFrame, baseline: str, label: str) -> pd.DataFrame:
    """Joins each run of a label with the baseline's run of the same size and seed.

    Args:
        runs: finished runs with columns label, size, seed, compute, loss.
        baseline: the label to compare with.
        label: the label compared.

    Returns:
        Columns size, seed, compute_b, loss_b, compute_v, loss_v.
    """
    columns = ["size", "seed", "compute", "loss"]
    left = runs.loc[runs["label"] == baseline, columns]
    right = runs.loc[runs["label"] == label, columns]
    return left.merge(right, on=["size", "seed"], suffixes=("_b", "_v"))


def pair_log_multipliers(pairs: pd.DataFrame, alpha: float) -> Array:
    """Log M of each pair, moving along curves of exponent `alpha`."""
    compute = np.log(pairs["compute_b"] / pairs["compute_v"])
    loss = np.log(pairs["loss_b"] / pairs["loss_v"])
    return np.asarray(compute + loss / alpha, dtype=np.float64)


F = TypeVar("F")


class Fits:
    """Fits to some runs that several labels need, each made once."""

    def __init__(self, runs: pd.DataFrame) -> None:
        self._runs = runs
        self._by_seed = dict(list(runs.groupby("seed")))
        self._known: dict[Hashable, Any] = {}

    def power(self, seed: int | None = None, label: str | None = None) -> PowerFit:
        """To all runs, or to those of a seed, of a label. Raises NoFitError."""
        runs = self._of(seed)
        part = runs if label is None else runs[runs["label"] == label]
        return self._once(("power", seed, label), lambda: fit_power(part))

    def irreducible(self, seed: int | None = None) -> IrreducibleFit:
        """To all runs, or to those of a seed. Raises NoFitError."""
        return self._once(("irreducible", seed), lambda: fit_irreducible(self._of(seed)))

    def _of(self, seed: int | None) -> pd.DataFrame:
        return self._runs if seed is None else self._by_seed[seed]

    def _once(self, key: Hashable, fit: Callable[[], F]) -> F:
        if key not in self._known:
            try:
                self._known[key] = fit()
            except NoFitError as error:
                self._known[key] = error
        if isinstance(self._known[key], NoFitError):
            raise self._known[key]
        return self._known[key]


def multipliers(
    runs: pd.DataFrame,
    baseline: str,
    target: float | None = None,
    models: Collection[str] = MODELS,
) -> list[Multiplier]:
    """Every label's multiplier over the baseline under each model.

    Args:
        runs: finished runs with columns label, size, seed, compute, loss.
        baseline: the label to compare with.
        target: compute at which to compare; by default the largest that both the
            baseline's and the variant's runs reach.
        models: those wanted; one that is left out costs nothing.
    """
    labels = [label for label in dict.fromkeys(runs["label"]) if label != baseline]
    fits = Fits(runs)
    return [m for label in labels for m in _of_label(runs, fits, baseline, label, target, models)]


def at_own_rates(
    runs: pd.DataFrame, baseline: str, target: float | None = None
) -> list[Multiplier]:
    """The multiplier of every label at its own rate over the baseline at its own, one exponent.

    Empty where the baseline was not run at a rate of its own.

    Args:
        runs: as for `multipliers`.
        baseline: the label at the rate of all.
        target: as for `multipliers`.
    """
    base = baseline + OWN
    if base not in set(runs["label"]):
        return []
    return [
        replace(found, model=BOTH_OWN)
        for found in multipliers(runs, base, target, models=[SHARED])
        if found.label.endswith(OWN)
    ]


def _of_label(
    runs: pd.DataFrame,
    fits: Fits,
    baseline: str,
    label: str,
    wanted: float | None,
    models: Collection[str],
) -> list[Multiplier]:
    pairs = pair_runs(runs, baseline, label)
    ranges = [
        (
            float(runs.loc[runs["label"] == name, "compute"].min()),
            float(runs.loc[runs["label"] == name, "compute"].max()),
        )
        for name in (baseline, label)
        if (runs["label"] == name).any()
    ]
    lowest = max(low for low, _ in ranges)
    highest = min(high for _, high in ranges)
    target = highest if wanted is None else wanted
    n_sizes = pairs["size"].nunique()
    per_seed = pairs.groupby("seed")["size"].nunique()
    # A seed counts where its own runs bear an interval's worth of sizes, or all that there are.
    seeds = sorted(per_seed[per_seed >= min(MIN_SIZES, n_sizes)].index)

    def row(model: str, estimate: Callable[[], tuple[float, Interval]]) -> Multiplier:
        notes = []
        value, interval = math.nan, NO_INTERVAL
        if n_sizes < 2:
            notes.append(
                "one size: no exponent, so no multiplier" if n_sizes else "no pair of runs"
            )
        else:
            try:
                value, interval = estimate()
            except NoFitError as error:
                notes.append(str(error))
        if n_sizes in range(2, MIN_SIZES):
            notes.append(f"{n_sizes} sizes: no interval")
            interval = NO_INTERVAL
        elif len(seeds) == 1:
            notes.append("one seed: no interval")
            interval = NO_INTERVAL
        elif not math.isnan(value) and not interval.exists:
            notes.append("all estimates are equal: no interval")
        extrapolated = not lowest * 0.999 <= target <= highest * 1.001
        if extrapolated and not math.isnan(value):
            notes.append("target outside the fitted range")
        elif value > 1 and target * value > highest * 1.001:
            reach = target * value / highest
            notes.append(f"reads the baseline's curve {reach:.2f}x beyond its largest run")
        return Multiplier(
            label=label,
            model=model,
            target=target,
            value=value,
            interval=interval,
            n_seeds=len(seeds),
            n_sizes=n_sizes,
            extrapolated=extrapolated,
            note="; ".join(notes),
        )

    def over_seeds(log_multiplier: Callable[[int], float]) -> tuple[float, Interval]:
        logs = [log_multiplier(seed) for seed in seeds]
        return math.exp(float(np.mean(logs))), _exp(t_interval(logs))

    def over_pairs() -> tuple[float, Interval]:
        logs = pair_log_multipliers(pairs, fits.power().alpha)
        return math.exp(float(logs.mean())), _exp(t_interval(logs))

    def shared(seed: int) -> float:
        own = pairs[pairs["seed"] == seed]
        return float(pair_log_multipliers(own, fits.power(seed).alpha).mean())

    def free(seed: int) -> float:
        ours, theirs = fits.power(seed, label), fits.power(seed, baseline)
        difference = theirs.log_loss(baseline, target) - ours.log_loss(label, target)
        return float(difference / theirs.alpha)

    def irreducible(seed: int) -> float:
        return fits.irreducible(seed).log_multiplier(label, baseline)

    estimates: dict[str, Callable[[], tuple[float, Interval]]] = {
        SHARED: lambda: over_seeds(shared),
        PER_PAIR: over_pairs,
        FREE: lambda: over_seeds(free),
        IRREDUCIBLE: lambda: over_seeds(irreducible),
    }
    wanted_models = [model for model in MODELS if model in models]
    if IRREDUCIBLE in wanted_models and not (n_sizes >= MIN_SIZES and _irreducible_borne(fits)):
        wanted_models.remove(IRREDUCIBLE)
    return [row(model, estimates[model]) for model in wanted_models]


def _irreducible_borne(fits: Fits) -> bool:
    try:
        return fits.irreducible().borne
    except NoFitError:
        return False


def _exp(interval: Interval) -> Interval:
    return Interval(math.exp(interval.low), math.exp(interval.high))
