"""Whether a multiplier hangs on one size, one seed or the form of the fit.

Each check is the multiplier again, from fewer runs or by another model; the first row is the
result itself. A variant whose seeds stand apart (one of its runs diverged, say) is in the exponent
that all variants share, so it is left out once too. Interpolation fits no curve at all: each run's
loss is read on the line through the baseline's losses of the same seed, log loss over log compute,
straight between neighbouring sizes. A loss beyond the baseline's least or greatest is read on the
nearest piece, drawn on.
"""

import math

import numpy as np
import pandas as pd

from attnres_eval.analysis.axes import over_flops
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.fit import NoFitError
from attnres_eval.analysis.intervals import NO_INTERVAL, Array, Interval, t_interval
from attnres_eval.analysis.irreducible import fit_irreducible
from attnres_eval.analysis.multiplier import (
    FREE,
    IRREDUCIBLE,
    MIN_SIZES,
    PER_PAIR,
    SHARED,
    multipliers,
    pair_runs,
)
from attnres_eval.analysis.pooled import apart_somewhere
from attnres_eval.cost import PFLOPS_DAY

RESULT = "result"
INTERPOLATED = "interpolation, no fit"

COLUMNS = [
    "variant",
    "check",
    "multiplier",
    "ci_low",
    "ci_high",
    "n_seeds",
    "n_sizes",
    "target_compute_flops",
    "note",
]


def robustness_table(results: Results) -> pd.DataFrame:
    """One row a variant and check, intervals 95%; none with fewer than three sizes."""
    runs, baseline = over_flops(results.finished), results.study.baseline
    if runs["size"].nunique() < MIN_SIZES:
        return pd.DataFrame(columns=COLUMNS)
    found = [_rows(runs, baseline, {SHARED: RESULT})]
    for column, known in (("size", results.study.sizes), ("seed", results.study.seeds)):
        values = [value for value in known if value in set(runs[column])]
        for value in values if len(values) > 1 else ():
            rest = runs[runs[column] != value]
            found.append(_rows(rest, baseline, {SHARED: f"without {column} {value}"}))
    for label in apart_somewhere(runs, baseline):
        # Its runs are in the exponent that all variants share.
        rest = runs[runs["label"] != label]
        found.append(_rows(rest, baseline, {SHARED: f"without {label}, which stands apart"}))
    found.append(_rows(runs, baseline, {PER_PAIR: PER_PAIR, FREE: FREE, IRREDUCIBLE: IRREDUCIBLE}))
    missing = _without(found, IRREDUCIBLE)
    found.append(_not_borne(runs, missing) if missing else [])
    labels = list(dict.fromkeys(str(row["variant"]) for row in found[0]))
    found.append([_interpolated_row(runs, baseline, label) for label in labels])
    frame = pd.DataFrame([row for rows in found for row in rows], columns=COLUMNS)
    order = {label: place for place, label in enumerate(labels)}
    places = frame["variant"].map(order)
    frame = frame.assign(place=places).sort_values("place", kind="stable", ignore_index=True)
    # A check that the data do not bear has no counts, and the others' stay whole numbers.
    return frame[COLUMNS].astype({"n_seeds": "Int64", "n_sizes": "Int64"})


def _rows(runs: pd.DataFrame, baseline: str, checks: dict[str, str]) -> list[dict[str, object]]:
    return [
        {
            "variant": m.label,
            "check": checks[m.model],
            "multiplier": m.value,
            "ci_low": m.interval.low,
            "ci_high": m.interval.high,
            "n_seeds": m.n_seeds,
            "n_sizes": m.n_sizes,
            "target_compute_flops": m.target * PFLOPS_DAY,
            "note": m.note,
        }
        for m in multipliers(runs, baseline, models=checks)
    ]


def _without(found: list[list[dict[str, object]]], check: str) -> list[str]:
    """Labels that have no row of a check."""
    rows = [row for part in found for row in part]
    have = {row["variant"] for row in rows if row["check"] == check}
    return [str(row["variant"]) for row in found[0] if row["variant"] not in have]


def _not_borne(runs: pd.DataFrame, labels: list[str]) -> list[dict[str, object]]:
    try:
        objections = "; ".join(fit_irreducible(runs).objections)
    except NoFitError as error:
        objections = str(error)
    note = f"not borne by the data: {objections}"
    return [
        {"variant": label, "check": IRREDUCIBLE, "multiplier": math.nan, "note": note}
        for label in labels
    ]


def interpolated(pairs: pd.DataFrame) -> tuple[Array, int]:
    """Log multipliers of the runs of one seed, read on the baseline's losses.

    Args:
        pairs: `attnres_eval.analysis.multiplier.pair_runs`, of one seed and two sizes or more.

    Returns:
        Log multiplier of each pair, and how many of them were read beyond the baseline's losses.

    Raises:
        NoFitError: the baseline's losses do not fall from each size to the next.
    """
    base = pairs.sort_values("compute_b")
    x, y = np.log(base["compute_b"].to_numpy()), np.log(base["loss_b"].to_numpy())
    if np.any(np.diff(y) >= 0):
        raise NoFitError("the baseline's losses do not fall from each size to the next")
    wanted = np.log(pairs["loss_v"].to_numpy(np.float64))
    # Negated losses ascend: a loss lies on the piece that ends at the next smaller one.
    piece = np.clip(np.searchsorted(-y, -wanted) - 1, 0, len(y) - 2)
    slope = (x[piece + 1] - x[piece]) / (y[piece + 1] - y[piece])
    reached = x[piece] + slope * (wanted - y[piece])
    beyond = int(np.sum((wanted < y.min()) | (wanted > y.max())))
    return reached - np.log(pairs["compute_v"].to_numpy(np.float64)), beyond


def _interpolated_row(runs: pd.DataFrame, baseline: str, label: str) -> dict[str, object]:
    pairs = pair_runs(runs, baseline, label)
    notes, logs, beyond = [], [], 0
    for seed, own in pairs.groupby("seed"):
        if len(own) < min(MIN_SIZES, pairs["size"].nunique()) or len(own) < 2:
            continue
        try:
            found, outside = interpolated(own)
        except NoFitError as error:
            notes.append(f"without seed {seed}: {error}")
            continue
        logs.append(float(found.mean()))
        beyond += outside
    if beyond:
        notes.append(f"{beyond} of {len(pairs)} runs read beyond the baseline's losses")
    interval = t_interval(logs) if pairs["size"].nunique() >= MIN_SIZES else NO_INTERVAL
    known = Interval(math.exp(interval.low), math.exp(interval.high))
    return {
        "variant": label,
        "check": INTERPOLATED,
        "multiplier": math.exp(float(np.mean(logs))) if logs else math.nan,
        "ci_low": known.low,
        "ci_high": known.high,
        "n_seeds": len(logs),
        "n_sizes": pairs["size"].nunique(),
        "target_compute_flops": math.nan,
        "note": "; ".join(notes),
    }
