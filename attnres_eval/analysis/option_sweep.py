"""One option of a variant over its values: the number of blocks of Block AttnRes, say.

Labels of one variant, at one learning rate, which differ in the value of a single numeric option
are a sweep over it (arXiv:2603.15031, figure 6). Nothing names them: they are found.
"""

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.labels import OWN, Label, scaled_label
from attnres_eval.study import Study

MIN_VALUES = 3

COLUMNS = [
    "sweep",
    "option",
    "value",
    "variant",
    "size",
    "n_seeds",
    "nats_per_token",
    "nats_low",
    "nats_high",
    "difference",
    "ci_low",
    "ci_high",
]


def swept_labels(study: Study) -> pd.DataFrame:
    """Labels that are places of a sweep.

    Returns:
        Columns sweep (the variant and its rate, as a label), option, value, variant (the label);
        a label may be in sweeps over several options.
    """
    rows = []
    for label in study.variants:
        behind = study.label(label)
        if behind.flops_of is not None:
            continue
        options = behind.options.model_dump(mode="json")
        for option, value in options.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            rest = tuple((name, repr(options[name])) for name in options if name != option)
            rows.append(
                {
                    "option": option,
                    "value": float(value),
                    "variant": label,
                    # Text: a rate and rates by size have no order among each other.
                    "key": repr((behind.variant, behind.learning_rate_scale, option, rest)),
                    "sweep": _sweep_label(behind),
                }
            )
    frame = pd.DataFrame(rows, columns=["sweep", "option", "value", "variant", "key"])
    if frame.empty:
        return frame.drop(columns="key")
    frame = frame.drop_duplicates(["key", "value"])
    values = frame.groupby("key")["value"].transform("nunique")
    return frame[values >= MIN_VALUES].drop(columns="key").reset_index(drop=True)


def _sweep_label(behind: Label) -> str:
    """A name for what the places of a sweep share: the variant, at its rate."""
    scale = behind.learning_rate_scale
    return scaled_label(behind.variant, scale) if isinstance(scale, float) else behind.variant + OWN


def option_sweep_table(results: Results, differences: pd.DataFrame) -> pd.DataFrame:
    """One row a value, size and sweep, in the order of the values; none without a sweep.

    `nats_low` and `nats_high` are the least and the greatest loss of a seed, not an interval;
    `difference` is that to the baseline, nats per token, with a 95% interval of its own.

    Args:
        results: of the study.
        differences: `attnres_eval.analysis.pooled.differences_table`.
    """
    found = swept_labels(results.study)
    runs = results.finished[np.isfinite(results.finished["loss"].astype(float))]
    losses = (
        runs.groupby(["label", "size"])["loss"]
        .agg(nats_per_token="mean", nats_low="min", nats_high="max")
        .rename_axis(["variant", "size"])
        .reset_index()
    )
    table = found.merge(losses, on="variant").merge(
        differences[["variant", "size", "n_seeds", "difference", "ci_low", "ci_high"]],
        on=["variant", "size"],
        how="left",
    )
    places = {size: place for place, size in enumerate(results.study.sizes)}
    table["place"] = table["size"].map(places)
    table["value"] = [int(v) if float(v).is_integer() else v for v in table["value"]]
    return table.sort_values(
        ["sweep", "option", "place", "value"], kind="stable", ignore_index=True
    )[COLUMNS]
