"""How much larger a network's last sublayers write than its first, beside the baseline.

The growth of a run is the RMS of its last MLP's output over that of its first; a residual whose
magnitudes stay bounded (as arXiv:2603.15031 says of AttnRes) has less of it than PreNorm. The same
is tabled of the gradient.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.depth import MLP, kind
from attnres_eval.analysis.intervals import Array, t_interval

MEASURES = ("output_rms", "gradient_rms")
COLUMNS = [
    "variant",
    "size",
    "measure",
    "n_seeds",
    "growth",
    "growth_low",
    "growth_high",
    "relative",
    "relative_low",
    "relative_high",
]


def growth_table(results: Results) -> pd.DataFrame:
    """One row a measure, size and variant: geometric means over seeds, Student's intervals of logs.

    `relative` is the growth over the baseline's of the same seed; the baseline has none.
    """
    grown: dict[tuple[str, str, str], pd.Series] = {}
    runs = results.finished
    for run, label, size, seed in zip(
        runs["run"], runs["label"], runs["size"], runs["seed"], strict=True
    ):
        record = results.inspections.get(run)
        if record is None:
            continue
        for measure in MEASURES:
            logs = grown.setdefault((measure, size, label), pd.Series(dtype=np.float64))
            logs[seed] = _log_growth(getattr(record, measure), len(record.skip_loss_change))
    study = results.study
    rows = [
        _row(measure, size, label, grown, study.baseline)
        for measure in MEASURES
        for size in study.sizes
        for label in study.variants
        if (measure, size, label) in grown
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _log_growth(values: Sequence[float | None], n_sublayers: int) -> float:
    """Log of the last MLP's value over the first one's; NaN where either is not positive.

    Args:
        values: [1 + n_sublayers], the embedding first.
        n_sublayers: sublayers.
    """
    mlps = [place for place in range(n_sublayers + 1) if kind(place, n_sublayers) == MLP]
    first, last = values[mlps[0]], values[mlps[-1]]
    if not first or not last or first < 0 or last < 0:
        return math.nan
    return math.log(last / first)


def _row(
    measure: str,
    size: str,
    label: str,
    grown: dict[tuple[str, str, str], pd.Series],
    baseline: str,
) -> dict[str, object]:
    own = grown[measure, size, label].dropna()
    theirs = grown.get((measure, size, baseline), pd.Series(dtype=np.float64))
    paired = (own - theirs).dropna() if label != baseline else own.iloc[:0]
    row: dict[str, object] = {
        "variant": label,
        "size": size,
        "measure": measure,
        "n_seeds": len(own),
    }
    for name, logs in (("growth", own), ("relative", paired)):
        values: Array = logs.to_numpy(dtype=np.float64)
        row[name] = math.exp(values.mean()) if len(values) else math.nan
        row[f"{name}_low"], row[f"{name}_high"] = np.exp(t_interval(values))
    return row
