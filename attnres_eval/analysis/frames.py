"""The tables of a study about losses, fits and multipliers, one function each: frame out."""

import math

import numpy as np
import pandas as pd

from attnres_eval.analysis.axes import over_flops
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.coverage import simulate_coverage
from attnres_eval.analysis.fit import NoFitError, PowerFit, fit_power
from attnres_eval.analysis.intervals import t_interval
from attnres_eval.analysis.irreducible import fit_irreducible
from attnres_eval.analysis.multiplier import (
    BOTH_OWN,
    FREE,
    IRREDUCIBLE,
    SHARED,
    at_own_rates,
    multipliers,
)
from attnres_eval.cost import PFLOPS_DAY

LOSS_COLUMNS = [
    "run",
    "variant",
    "size",
    "seed",
    "parameters",
    "matrix_parameters",
    "tokens",
    "tokens_per_parameter",
    "flops",
    "pflops_days",
    "flops_6nd",
    "nats_per_token",
    "bits_per_byte",
    "seconds",
    "tokens_per_second",
    "peak_memory_mib",
]


def losses_table(results: Results) -> pd.DataFrame:
    """One row a planned run. What a run has not measured is missing."""
    runs = results.runs.copy()
    runs["variant"] = runs["label"]
    runs["peak_memory_mib"] = runs["peak_memory_bytes"] / 2**20
    return runs.rename(columns={"loss": "nats_per_token"})[LOSS_COLUMNS]


def cells_table(results: Results) -> pd.DataFrame:
    """Mean loss, speed and memory of each variant at each size, over the finished seeds.

    `difference` is the mean over seeds of the variant's loss minus the baseline's of the same
    seed, nats per token, with Student's interval over seeds; `relative_speed` is the mean ratio of
    the two runs' tokens per second.
    """
    runs = results.finished
    base = runs[runs["label"] == results.study.baseline]
    rows = []
    for label in results.study.variants:
        for size in results.study.sizes:
            part = runs[(runs["label"] == label) & (runs["size"] == size)]
            paired = part.merge(base, on=["size", "seed"], suffixes=("", "_base"))
            own = label == results.study.baseline
            differences = (paired["loss"] - paired["loss_base"]).to_numpy(np.float64)
            speeds = (paired["tokens_per_second"] / paired["tokens_per_second_base"]).to_numpy()
            interval = t_interval([] if own else differences)
            rows.append(
                {
                    "variant": label,
                    "size": size,
                    "n_seeds": len(part),
                    "flops": part["flops"].mean(),
                    "pflops_days": part["pflops_days"].mean(),
                    "nats_per_token": part["loss"].mean(),
                    "seed_sd": part["loss"].std(ddof=1) if len(part) > 1 else math.nan,
                    "bits_per_byte": part["bits_per_byte"].mean(),
                    "difference": math.nan if own or not len(paired) else differences.mean(),
                    "ci_low": interval.low,
                    "ci_high": interval.high,
                    "tokens_per_second": part["tokens_per_second"].mean(),
                    "relative_speed": speeds.mean() if len(paired) else math.nan,
                    "peak_memory_mib": part["peak_memory_bytes"].mean() / 2**20,
                }
            )
    return pd.DataFrame(rows)


FIT_COLUMNS = [
    "model",
    "variant",
    "a",
    "a_low",
    "a_high",
    "alpha",
    "alpha_low",
    "alpha_high",
    "e",
    "n_points",
    "rmse_log",
    "r2",
    "note",
]


def fits_table(results: Results) -> pd.DataFrame:
    """Fitted curves over FLOPs: `a` and `e` in nats per token, compute in PFLOP/s-days."""
    return fits_of(over_flops(results.finished))


def fits_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Fitted curves: `a` in nats per token at one unit of the column `compute`, `e` in the same.

    Intervals are 95% from the residuals of all runs taken as independent; the irreducible model
    has none. A model that the data do not bear has a row without numbers and a note.
    """
    labels = list(dict.fromkeys(runs["label"]))
    rows = []
    try:
        shared = fit_power(runs)
        rows += [_fit_row(SHARED, label, shared) for label in labels]
    except NoFitError as error:
        rows.append({"model": SHARED, "variant": "", "note": str(error)})
    for label in labels:
        try:
            rows.append(_fit_row(FREE, label, fit_power(runs[runs["label"] == label])))
        except NoFitError as error:
            rows.append({"model": FREE, "variant": label, "note": str(error)})
    try:
        fit = fit_irreducible(runs)
        if fit.borne:
            rows += [
                {
                    "model": IRREDUCIBLE,
                    "variant": label,
                    "a": math.exp(log_a),
                    "alpha": fit.alpha,
                    "e": fit.e,
                    "n_points": fit.n_points,
                    "rmse_log": fit.rmse,
                    "r2": fit.r2,
                    "note": "",
                }
                for label, log_a in zip(fit.labels, fit.log_a, strict=True)
            ]
        else:
            note = "not borne by the data: " + "; ".join(fit.objections)
            rows.append({"model": IRREDUCIBLE, "variant": "", "note": note})
    except NoFitError as error:
        note = f"not borne by the data: {error}"
        rows.append({"model": IRREDUCIBLE, "variant": "", "note": note})
    frame = pd.DataFrame(rows, columns=FIT_COLUMNS)
    return frame.assign(n_points=frame["n_points"].astype("Int64"))


def _fit_row(model: str, label: str, fit: PowerFit) -> dict[str, object]:
    a_interval = fit.a_interval(label)
    return {
        "model": model,
        "variant": label,
        "a": math.exp(fit.log_a[fit.labels.index(label)]),
        "a_low": a_interval.low,
        "a_high": a_interval.high,
        "alpha": fit.alpha,
        "alpha_low": fit.alpha_interval.low,
        "alpha_high": fit.alpha_interval.high,
        "n_points": fit.n_points,
        "rmse_log": fit.rmse,
        "r2": fit.r2,
        "note": "",
    }


MULTIPLIER_COLUMNS = [
    "variant",
    "model",
    "target_compute_flops",
    "target_compute_pflops_days",
    "multiplier",
    "ci_low",
    "ci_high",
    "n_seeds",
    "n_sizes",
    "coverage",
    "coverage_error",
    "extrapolated",
    "note",
]


def multipliers_table(results: Results, target_flops: float | None = None) -> pd.DataFrame:
    """Compute multipliers over the study's baseline; the default model stands first.

    Where the baseline was run at a rate of its own too, labels at theirs have a row over that.

    `coverage` is the share of simulated 95% intervals of this design that hold the truth,
    `coverage_error` its Monte Carlo standard error.
    """
    runs, baseline = over_flops(results.finished), results.study.baseline
    target = None if target_flops is None else target_flops / PFLOPS_DAY
    rows = multipliers(runs, baseline, target)
    labels = list(dict.fromkeys(m.label for m in rows))
    rows += at_own_rates(runs, baseline, target)
    # Stable: a label's own model comes behind the others.
    rows.sort(key=lambda m: labels.index(m.label))
    covered = simulate_coverage(
        runs, baseline, {m.label: m.target for m in rows if m.model != BOTH_OWN}
    )
    frame = []
    for m in rows:
        coverage = covered.get((m.label, m.model)) if m.interval.exists else None
        frame.append(
            {
                "variant": m.label,
                "model": m.model,
                "target_compute_flops": m.target * PFLOPS_DAY,
                "target_compute_pflops_days": m.target,
                "multiplier": m.value,
                "ci_low": m.interval.low,
                "ci_high": m.interval.high,
                "n_seeds": m.n_seeds,
                "n_sizes": m.n_sizes,
                "coverage": coverage.share if coverage else math.nan,
                "coverage_error": coverage.error if coverage else math.nan,
                "extrapolated": m.extrapolated,
                "note": m.note,
            }
        )
    return pd.DataFrame(frame, columns=MULTIPLIER_COLUMNS)
