"""What a training step of each variant takes, from the calibration's rounds.

The ratio of a variant's step to the baseline's is the median over rounds of the ratio within a
round, where the two are neighbours in time. Its 95% interval is that of a median by order
statistics: it assumes that rounds are independent of each other, and nothing about their
distribution. Seconds are the ratio times the median of all the baseline's steps of the size, so
that a stretch in which the machine was slow does not favour the variants timed outside it.
"""

import math

import numpy as np
import pandas as pd

from attnres_eval.analysis.intervals import median_interval
from attnres_eval.records import Calibration, StepPair
from attnres_eval.study import Study

COLUMNS = [
    "variant",
    "size",
    "rounds",
    "seconds_per_token",
    "relative_step_time",
    "ci_low",
    "ci_high",
    "baseline_spread",
    "precision",
    "threads",
    "compiled",
    "kernels",
]


def step_times_table(study: Study, calibration: Calibration | None) -> pd.DataFrame:
    """One row a variant and size; without rows where times were not calibrated.

    `relative_step_time` is a multiple of the baseline's with its interval; the baseline's own row
    compares two copies of it, so that it shows the calibration's error. `baseline_spread` is the
    interquartile range of the baseline's steps of the size over their median: how steady the
    machine was.
    """
    pairs = calibration.pairs if calibration else []
    rows = []
    for size in study.sizes:
        own = [pair for pair in pairs if pair.size == size]
        steps = np.array([s / pair.tokens for pair in own for s in pair.baseline_seconds])
        rows += [_row(pair, steps, is_baseline=pair.label == study.baseline) for pair in own]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(pair: StepPair, baseline_steps: np.ndarray, *, is_baseline: bool) -> dict[str, object]:
    ratios = np.array(pair.seconds) / np.array(pair.baseline_seconds)
    ratio, interval = float(np.median(ratios)), median_interval(ratios)
    low, middle, high = np.quantile(baseline_steps, [0.25, 0.5, 0.75])
    return {
        "variant": pair.label,
        "size": pair.size,
        "rounds": len(ratios),
        "seconds_per_token": middle * (1.0 if is_baseline else ratio),
        "relative_step_time": ratio,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "baseline_spread": (high - low) / middle,
        "precision": pair.machine.precision,
        "threads": pair.machine.threads,
        "compiled": pair.machine.compiled,
        "kernels": pair.machine.kernels,
    }


def log_reach(step_times: pd.DataFrame, label: str) -> float:
    """How far a variant's log time over the baseline's may be off, at 95%.

    The mean over sizes of the intervals' half widths on logarithms, as if all sizes erred together:
    what is common to a variant's sizes, such as where its memory lies, then counts in full. NaN
    where a size has no interval.
    """
    own = step_times[step_times["variant"] == label]
    halves = [
        math.log(high / low) / 2 for low, high in zip(own["ci_low"], own["ci_high"], strict=True)
    ]
    return float(np.mean(halves)) if halves else math.nan
