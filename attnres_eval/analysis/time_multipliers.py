"""Multipliers at equal time: `attnres_eval.analysis.multiplier` over calibrated seconds.

A run's time is its tokens times the calibrated seconds per token of its variant and size, all of
one machine, wherever the run itself was trained. Where a variant takes r times the baseline's
seconds per token and F times its FLOPs at every size, and seconds grow with size as FLOPs to the
power g for all variants, the exponent over seconds is alpha / g and

    M_time = (F M_flops)^g / r:

with g = 1 the multiplier at equal FLOPs, times the FLOPs and over the time that a token costs more;
and 1 / r where the losses are equal.

The interval over seeds knows nothing of the calibration's error, which all seeds share. Its reach
(`attnres_eval.analysis.step_times.log_reach`) is added to the seeds' in quadrature, on logarithms.
"""

import math

import pandas as pd

from attnres_eval.analysis.axes import over_seconds
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.frames import FIT_COLUMNS, fits_of
from attnres_eval.analysis.intervals import NO_INTERVAL, Interval
from attnres_eval.analysis.multiplier import Multiplier, multipliers
from attnres_eval.analysis.step_times import log_reach

COLUMNS = [
    "variant",
    "model",
    "target_seconds",
    "multiplier",
    "ci_low",
    "ci_high",
    "calibration_error",
    "n_seeds",
    "n_sizes",
    "extrapolated",
    "note",
]


def time_fits_table(results: Results, step_times: pd.DataFrame) -> pd.DataFrame:
    """Fitted curves over calibrated seconds: `a` in nats per token at one second.

    Empty where times were not calibrated.
    """
    runs = over_seconds(results.finished, step_times)
    return pd.DataFrame(columns=FIT_COLUMNS) if runs.empty else fits_of(runs)


def time_multipliers_table(results: Results, step_times: pd.DataFrame) -> pd.DataFrame:
    """Multipliers at equal time over the study's baseline; empty where times were not calibrated.

    `calibration_error` is the share by which the calibration alone may move a multiplier, at 95%;
    it is in the interval.

    Args:
        results: the runs.
        step_times: `attnres_eval.analysis.step_times.step_times_table`.
    """
    runs = over_seconds(results.finished, step_times)
    found = multipliers(runs, results.study.baseline) if len(runs) else []
    rows = [_row(m, log_reach(step_times, m.label)) for m in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(m: Multiplier, reach: float) -> dict[str, object]:
    interval, note = widened(m.value, m.interval, reach), m.note
    if m.interval.exists and not interval.exists:
        note = "; ".join(part for part in (note, "too few rounds timed: no interval") if part)
    return {
        "variant": m.label,
        "model": m.model,
        "target_seconds": m.target,
        "multiplier": m.value,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "calibration_error": math.expm1(reach),
        "n_seeds": m.n_seeds,
        "n_sizes": m.n_sizes,
        "extrapolated": m.extrapolated,
        "note": note,
    }


def widened(value: float, interval: Interval, reach: float) -> Interval:
    """An interval around `value` with an independent error added in quadrature.

    Args:
        value: the estimate.
        interval: symmetric about it on logarithms.
        reach: of the error, on logarithms; NaN where it is unknown, and so is the sum then.
    """
    if not interval.exists or math.isnan(reach):
        return NO_INTERVAL
    total = math.hypot(math.log(interval.high / interval.low) / 2, reach)
    return Interval(value * math.exp(-total), value * math.exp(total))
