"""What a study's design can see: known multipliers, simulated at its noise and fitted again.

The design is a finished study's: its sizes, its exponent, its number of variants and the noise of
its runs (`attnres_eval.analysis.coverage`), with other numbers of seeds. One variant has the true
multiplier, and costs what the baseline costs; all others are equal to the baseline.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from attnres_eval.analysis.axes import over_flops
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.coverage import DRAWS, Drawn, Noise, estimate_noise
from attnres_eval.analysis.fit import NoFitError, fit_power
from attnres_eval.analysis.intervals import Array
from attnres_eval.analysis.multiplier import MIN_SIZES
from attnres_eval.errors import UserError

TRUTHS = (1.0, 1.05, 1.10, 1.25)
SEEDS = (2, 3, 5, 10)


def power_table(
    results: Results,
    truths: Sequence[float] = TRUTHS,
    seeds: Sequence[int] = SEEDS,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """One row a model, number of seeds and true multiplier.

    `bias` is the mean estimate on logarithms over the truth, less 1; `coverage` the share of
    intervals that hold the truth; `power` the share of studies whose interval excludes 1, which is
    the share of false alarms where the truth is 1; `half_width` how far the median interval reaches
    to each side, as a share. A study whose exponent is not positive has no interval.

    Args:
        results: a study's.
        truths: multipliers.
        seeds: numbers of seeds.
        draws: simulated studies of each row.

    Raises:
        UserError: the study has fewer than three sizes, bears no power law or no estimate of its
            noise, or a truth or number of seeds makes no sense.
    """
    if bad := [m for m in truths if not (math.isfinite(m) and m > 0)]:
        raise UserError(f"a multiplier of {bad[0]:g} is none: give positive numbers")
    if few := [n for n in seeds if n < 2]:
        raise UserError(f"{few[0]} seeds bear no interval: give at least 2")
    runs = over_flops(results.finished)
    noise = estimate_noise(runs, results.study.baseline)
    if noise is None or noise.own == 0:
        raise UserError(
            "the noise of a run cannot be told: that takes two seeds of at least two variants"
        )
    try:
        alpha = fit_power(runs).alpha
    except NoFitError as error:
        raise UserError(str(error)) from None
    base = runs[runs["label"] == results.study.baseline]
    x_S = np.log(base.groupby("size")["compute"].mean().to_numpy(np.float64))
    if len(x_S) < MIN_SIZES:
        raise UserError(f"{len(x_S)} sizes bear no interval: that takes {MIN_SIZES}")
    n_labels = max(2, runs["label"].nunique())
    rows = [
        row
        for n_seeds in seeds
        for truth in truths
        for row in simulated(x_S, n_labels, alpha, noise, n_seeds, truth, draws)
    ]
    return pd.DataFrame(rows).sort_values("model", kind="stable", ignore_index=True)


def simulated(
    x_S: Array,
    n_labels: int,
    alpha: float,
    noise: Noise,
    n_seeds: int,
    truth: float,
    draws: int = DRAWS,
) -> list[dict[str, object]]:
    """Rows of one true multiplier, one a model.

    Args:
        x_S: log compute of the sizes.
        n_labels: variants, the baseline counted.
        alpha: exponent.
        noise: of log loss.
        n_seeds: of each study.
        truth: the multiplier.
        draws: simulated studies.
    """
    log_a_V = np.zeros(n_labels)
    log_a_V[1] = -alpha * math.log(truth)
    drawn = Drawn(np.tile(x_S, (n_labels, 1)), log_a_V, alpha, noise, n_seeds, draws)
    rows: list[dict[str, object]] = []
    for model, found in drawn.log_multipliers(0, 1, math.exp(x_S[-1])).items():
        excludes = ~found.holds(0.0) & found.usable
        bias = np.mean(found.centre[found.usable]) - math.log(truth)
        rows.append(
            {
                "model": model,
                "n_seeds": n_seeds,
                "true_multiplier": truth,
                "bias": math.expm1(bias),
                "coverage": float(np.mean(found.holds(math.log(truth)))),
                "power": float(np.mean(excludes)),
                "half_width": math.expm1(float(np.median(found.reach[found.usable]))),
                "no_fit": float(np.mean(~found.usable)),
            }
        )
    return rows
