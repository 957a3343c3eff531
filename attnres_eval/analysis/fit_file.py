"""Scaling curves of anybody's runs, from a CSV file: what stands behind `attnres-eval fit`."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from attnres_eval.analysis.fit import NoFitError, fit_power
from attnres_eval.analysis.frames import fits_of
from attnres_eval.analysis.intervals import Interval, t_interval
from attnres_eval.analysis.multiplier import (
    MIN_SIZES,
    PER_PAIR,
    Multiplier,
    multipliers,
    pair_log_multipliers,
    pair_runs,
)
from attnres_eval.analysis.parametric import PARAMETERS, fit_parametric
from attnres_eval.errors import UserError

POWER = ("label", "compute", "loss")
PARAMETRIC = ("params", "tokens", "loss")


def power_tables(path: Path, baseline: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Power laws of all labels, and every label's multiplier over the baseline.

    Args:
        path: a CSV file with columns label, compute, loss, and where there are any seed and size.
            Without `size`, the runs of a label are of sizes in the order of their compute, so that
            the labels' smallest runs are compared, and so on.
        baseline: the label to compare with; the first one of the file by default.

    Returns:
        Fits, `a` at one unit of the file's compute; and multipliers.

    Raises:
        UserError: no such file, a column is missing or has something else than positive numbers,
            no run of the baseline, or no power law.
    """
    runs = _read(path, POWER)
    runs["label"] = runs["label"].astype(str)
    if "seed" not in runs:
        runs["seed"] = 0
    if "size" not in runs:
        runs["size"] = runs.groupby(["label", "seed"])["compute"].rank(method="first").astype(int)
    twice = runs.duplicated(["label", "size", "seed"])
    if twice.any():
        line, run = _line(twice), runs[twice].iloc[0]
        raise UserError(
            f"{path} line {line}: a second run of label {run['label']}, size {run['size']}, seed"
            f" {run['seed']}; number the seeds in a column seed"
        )
    first = str(runs["label"].iloc[0]) if baseline is None else baseline
    if first not in set(runs["label"]):
        known = ", ".join(dict.fromkeys(runs["label"]))
        raise UserError(f"{path} has no label {first}: {known}")
    try:
        fit_power(runs)
    except NoFitError as error:
        raise UserError(f"{path}: {error}") from None
    found = [
        {
            "variant": m.label,
            "baseline": first,
            "model": m.model,
            "target_compute": m.target,
            "multiplier": m.value,
            "ci_low": m.interval.low,
            "ci_high": m.interval.high,
            "n_seeds": m.n_seeds,
            "n_sizes": m.n_sizes,
            "note": m.note,
        }
        for m in (_over_sizes(m, runs, first) for m in multipliers(runs, first))
    ]
    return fits_of(runs), pd.DataFrame(found)


def _over_sizes(m: Multiplier, runs: pd.DataFrame, baseline: str) -> Multiplier:
    """One seed's interval over its sizes, in the row that is over pairs.

    A study's tables have none there: it says how far sizes scatter about the curves, which is less
    than what other seeds would give. Of published runs it is all that can be had.
    """
    if m.model != PER_PAIR or m.n_seeds != 1 or m.n_sizes < MIN_SIZES or np.isnan(m.value):
        return m
    pairs = pair_runs(runs, baseline, m.label)
    logs = t_interval(pair_log_multipliers(pairs, fit_power(runs).alpha))
    note = m.note.replace("one seed: no interval", "one seed: interval over sizes")
    interval = Interval(float(np.exp(logs.low)), float(np.exp(logs.high)))
    return dataclasses.replace(m, interval=interval, note=note)


def parametric_row(path: Path) -> dict[str, object]:
    """L(N, D) = E + A / N^alpha + B / D^beta of a file's runs, with 95% intervals.

    Args:
        path: a CSV file with columns params, tokens, loss.

    Returns:
        For each of e, a, alpha, b, beta its value, and its interval's ends as NAME_low and
        NAME_high; then the number of runs, the residuals' size, and what speaks against the fit.

    Raises:
        UserError: no such file, a column is missing or has something else than positive numbers,
            or the runs bear no such law.
    """
    runs = _read(path, PARAMETRIC)
    try:
        fit = fit_parametric(runs)
    except NoFitError as error:
        raise UserError(f"{path}: {error}") from None
    row: dict[str, object] = {}
    for name in PARAMETERS:
        interval = fit.intervals[name]
        row[name] = fit.values[name]
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    note = "; ".join((*fit.objections, "no intervals")) if fit.objections else ""
    return row | {"n_points": fit.n_points, "rmse_log": fit.rmse, "note": note}


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A file's table; all of `columns` but `label` hold positive numbers."""
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    missing = [name for name in columns if name not in frame]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]}: it takes {', '.join(columns)}; it has"
            f" {', '.join(map(str, frame.columns))}"
        )
    if frame.empty:
        raise UserError(f"{path} has no rows")
    for name in columns:
        if name == "label":
            bad = frame[name].isna()
        else:
            numbers = pd.to_numeric(frame[name], errors="coerce")
            bad = ~(np.isfinite(numbers) & (numbers > 0))
            frame[name] = numbers
        if bad.any():
            what = "a name" if name == "label" else "a positive number"
            raise UserError(f"{path} line {_line(bad)}: {name} is not {what}")
    return frame


def _line(marked: pd.Series) -> int:
    """The line in the file of the first marked row, the heading being line 1."""
    return int(np.flatnonzero(marked.to_numpy())[0]) + 2
