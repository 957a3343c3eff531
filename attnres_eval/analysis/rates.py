"""Learning rates: which is best for each variant, and what the choice does to a comparison.

A study that has a label at several rates (`attnres_eval.labels`) is a sweep. A variant's best rate
at a size is the one of the least mean loss over all planned seeds; a rate at which a run has no
finite loss is out. A best rate beside which the grid has no further one is at the edge: the true
best may lie beyond.

Two comparisons with the baseline follow: both at the baseline's best rate, and each at its own.
Their intervals use one noise for all variants, estimated from the runs at their best rates
(`attnres_eval.analysis.pooled`). The best of several noisy means is a little too low; as every
variant has as many rates, this cancels, roughly, in a difference of two best ones.
"""

import math

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import t_quantile
from attnres_eval.analysis.pooled import additive_spread
from attnres_eval.labels import scaled_label, split_label
from attnres_eval.study import Study

MIN_RATES = 3
"""With fewer rates of the baseline a study is no sweep."""

RATE_COLUMNS = [
    "variant",
    "size",
    "scale",
    "learning_rate",
    "n_seeds",
    "n_planned",
    "nats_per_token",
    "nats_low",
    "nats_high",
    "best",
    "edge",
]
BEST_COLUMNS = [
    "variant",
    "size",
    "scale",
    "learning_rate",
    "edge",
    "n_seeds",
    "nats_per_token",
    "difference_at_baseline_rate",
    "at_baseline_rate_low",
    "at_baseline_rate_high",
    "difference_at_best",
    "at_best_low",
    "at_best_high",
    "pooled_sd",
    "df",
]


def rates_table(results: Results) -> pd.DataFrame:
    """One row a variant, size and rate; none where the study is no sweep.

    `nats_per_token` is the mean over the `n_seeds` runs that have a finite loss, of `n_planned`;
    `nats_low` and `nats_high` are the least and the greatest of them, not an interval. `edge` is
    said of a best rate alone.
    """
    study = results.study
    if len(_scales(study, split_label(study.baseline)[0])) < MIN_RATES:
        return pd.DataFrame(columns=RATE_COLUMNS)
    rows = [
        row
        for size in study.sizes
        for base in _bases(study)
        for row in _of_variant(results, base, size)
    ]
    return pd.DataFrame(rows, columns=RATE_COLUMNS)


def _bases(study: Study) -> list[str]:
    return list(dict.fromkeys(split_label(label)[0] for label in study.variants))


def _scales(study: Study, base: str) -> list[float]:
    """The factors at which a label is trained, ascending."""
    split = [split_label(label) for label in study.variants]
    return sorted(scale for name, scale in split if name == base)


def _of_variant(results: Results, base: str, size: str) -> list[dict[str, object]]:
    study, seeds = results.study, results.study.seeds
    rows: list[dict[str, object]] = []
    for scale in _scales(study, base):
        label = scaled_label(base, scale)
        losses = _losses(results, label, size)
        rows.append(
            {
                "variant": base,
                "size": size,
                "scale": scale,
                "learning_rate": study.run(label, size, seeds[0]).learning_rate,
                "n_seeds": len(losses),
                "n_planned": len(seeds),
                "nats_per_token": losses.mean() if len(losses) else math.nan,
                "nats_low": losses.min() if len(losses) else math.nan,
                "nats_high": losses.max() if len(losses) else math.nan,
                "best": False,
                "edge": False,
            }
        )
    means = [
        float(str(row["nats_per_token"])) if row["n_seeds"] == len(seeds) else math.inf
        for row in rows
    ]
    place = int(np.argmin(means))
    if math.isfinite(means[place]):
        rows[place] |= {"best": True, "edge": place in (0, len(rows) - 1)}
    return rows


def _losses(results: Results, label: str, size: str) -> pd.Series:
    runs = results.finished
    own = runs[(runs["label"] == label) & (runs["size"] == size)]["loss"].astype(float)
    return own[np.isfinite(own)]


def best_rates_table(results: Results, rates: pd.DataFrame) -> pd.DataFrame:
    """One row a variant and size with a best rate, the baseline's first; none without a sweep.

    Differences are to the baseline at its best rate, nats per token, over the seeds of both, with
    95% intervals; `difference_at_baseline_rate` is missing where the variant has no run there.

    Args:
        results: of the study.
        rates: `rates_table` of it.
    """
    baseline = split_label(results.study.baseline)[0]
    rows = []
    for size in dict.fromkeys(rates["size"]):
        best = rates[(rates["size"] == size) & rates["best"].astype(bool)].set_index("variant")
        best = best.loc[sorted(best.index, key=lambda base: base != baseline)]
        labels = [scaled_label(str(base), row["scale"]) for base, row in best.iterrows()]
        runs = results.finished[results.finished["size"] == size]
        spread = additive_spread(runs[runs["label"].isin(labels)])
        sd = math.sqrt(spread.variance)
        for base, row in best.iterrows():
            found = {
                "variant": base,
                **row.drop(["n_planned", "best"]),
                "pooled_sd": sd,
                "df": spread.df,
            }
            if baseline in best.index and base != baseline:
                theirs = best.loc[baseline, "scale"]
                reference = scaled_label(baseline, theirs)
                for name, scale in (("at_baseline_rate", theirs), ("at_best", row["scale"])):
                    found |= _difference(
                        runs, scaled_label(str(base), scale), reference, name, sd, spread.df
                    )
            rows.append(found)
    return pd.DataFrame(rows, columns=BEST_COLUMNS)


def _difference(
    runs: pd.DataFrame, label: str, reference: str, name: str, sd: float, df: int
) -> dict[str, float]:
    table = runs.pivot(index="seed", columns="label", values="loss").astype(float)
    if label not in table or reference not in table:
        return {}
    pairs = (table[label] - table[reference]).dropna()
    if pairs.empty:
        return {}
    mean = float(pairs.mean())
    reach = t_quantile(df) * sd * math.sqrt(2 / len(pairs)) if df else math.nan
    return {
        f"difference_{name}": mean,
        f"{name}_low": mean - reach,
        f"{name}_high": mean + reach,
    }
