"""Depth against width at equal compute.

A study whose sizes cost the baseline the same FLOPs and differ in depth is one over shapes
(arXiv:2603.15031, figure 7). At each depth a variant's difference to the baseline is that of
`attnres_eval.analysis.pooled`. Over the depths, its slope is that of the least-squares line of the
seeds' mean differences over log2 of the number of blocks: nats per token for each doubling. One
run's noise is taken to be the same at all depths too, so that the slope's interval rests on the
residuals of every depth; runs of different depths share nothing else. A variant that stands apart
at a depth (a run diverged) is left out of that depth's residuals, and its slope has the interval of
its own pairs, whose spread may differ by depth (Welch, Satterthwaite).

Where the baseline ran at rates of its own too, the variants at theirs are compared with that as
well: a rate that suits the baseline at one width and not at another is no merit of a residual.
"""

import math

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import Array, t_quantile
from attnres_eval.analysis.pooled import additive_spread, standing_apart
from attnres_eval.labels import OWN
from attnres_eval.study import Study

MIN_DEPTHS = 3
SAME_FLOPS = 1.02
"""Sizes are one budget where the baseline's largest FLOPs are at most this many of its least."""

SHAPE_COLUMNS = [
    "variant",
    "size",
    "n_layers",
    "d_model",
    "tokens",
    "flops",
    "n_seeds",
    "nats_per_token",
    "nats_low",
    "nats_high",
    "difference",
    "ci_low",
    "ci_high",
]
SLOPE_COLUMNS = [
    "variant",
    "over",
    "slope",
    "ci_low",
    "ci_high",
    "n_depths",
    "best_n_layers",
    "best_nats_per_token",
    "pooled_sd",
    "df",
]


def is_over_shapes(study: Study) -> bool:
    """Whether the sizes of a study are depths at one budget."""
    if len({study.shape(size).n_layers for size in study.sizes}) < MIN_DEPTHS:
        return False
    seed = study.seeds[0]
    flops = [study.run(study.baseline, size, seed).training_flops for size in study.sizes]
    return max(flops) <= SAME_FLOPS * min(flops)


def shapes_table(results: Results, differences: pd.DataFrame) -> pd.DataFrame:
    """One row a variant and depth, shallow first; none where the study is not over shapes.

    `nats_low` and `nats_high` are the least and the greatest loss of a seed, not an interval;
    `difference` is that to the baseline at the same depth, nats per token, with a 95% interval.

    Args:
        results: of the study.
        differences: `attnres_eval.analysis.pooled.differences_table`.
    """
    study = results.study
    if not is_over_shapes(study):
        return pd.DataFrame(columns=SHAPE_COLUMNS)
    sizes = sorted(study.sizes, key=lambda size: study.shape(size).n_layers)
    known = differences.set_index(["variant", "size"])
    rows = []
    for label in study.variants:
        for size in sizes:
            runs = results.finished
            own = runs[(runs["label"] == label) & (runs["size"] == size)]
            losses = own["loss"].astype(float)
            losses = losses[np.isfinite(losses)]
            if losses.empty:
                continue
            row = {
                "variant": label,
                "size": size,
                "n_layers": study.shape(size).n_layers,
                "d_model": study.shape(size).d_model,
                "tokens": own["tokens"].iloc[0],
                "flops": own["flops"].iloc[0],
                "n_seeds": len(losses),
                "nats_per_token": losses.mean(),
                "nats_low": losses.min(),
                "nats_high": losses.max(),
            }
            if (label, size) in known.index:
                for column in ("difference", "ci_low", "ci_high"):
                    row[column] = known.loc[(label, size), column]
            rows.append(row)
    return pd.DataFrame(rows, columns=SHAPE_COLUMNS)


def shape_slopes_table(results: Results, shapes: pd.DataFrame) -> pd.DataFrame:
    """One row a variant, the baseline's without a slope; none where there are no shapes.

    `slope` is the change of the difference to the label `over` by a doubling of depth, nats per
    token, with a 95% interval; below 0 the variant gains with depth. `over` is the baseline; more
    rows follow, over the baseline at its own rates, for the variants at theirs. `n_depths` are the
    depths of the slope. `best_n_layers` is the depth of the least mean loss. `pooled_sd` is one
    run's noise; where a variant of the pair stands apart at some depth, of the pair's own runs.

    Args:
        results: of the study.
        shapes: `shapes_table`.
    """
    baseline = results.study.baseline
    runs = results.finished[np.isfinite(results.finished["loss"].astype(float))]
    spreads, apart = [], set()
    for _, part in runs.groupby("size"):
        beside = set(standing_apart(part, baseline))
        spreads.append(additive_spread(part[~part["label"].isin(beside)]))
        apart |= beside
    df = sum(spread.df for spread in spreads)
    pooled = sum(spread.squares for spread in spreads) / df if df else math.nan
    losses = runs.pivot(index=["size", "seed"], columns="label", values="loss")
    n_layers = runs.groupby("size")["n_layers"].first()
    rows = []
    for label, over in _pairs(list(dict.fromkeys(shapes["variant"])), baseline):
        own = shapes[shapes["variant"] == label]
        best = own.iloc[int(np.argmin(own["nats_per_token"]))]
        row = {
            "variant": label,
            "over": over,
            "n_depths": len(own),
            "best_n_layers": best["n_layers"],
            "best_nats_per_token": best["nats_per_token"],
            "pooled_sd": math.sqrt(pooled),
            "df": df,
        }
        if label != over and over in losses:
            pairs = (losses[label] - losses[over]).dropna().groupby("size")
            depths = pairs.agg(["count", "mean", "var"]).join(n_layers)
            row["n_depths"] = len(depths)
            if len(depths) >= MIN_DEPTHS:
                row |= _own_slope(depths) if {label, over} & apart else _slope(depths, pooled, df)
        rows.append(row)
    return pd.DataFrame(rows, columns=SLOPE_COLUMNS)


def _pairs(labels: list[str], baseline: str) -> list[tuple[str, str]]:
    """Every label, and what it is compared with."""
    own = baseline + OWN
    fair = [label for label in labels if label.endswith(OWN) and label != own]
    return [(label, baseline) for label in labels] + [
        (label, own) for label in fair if own in labels
    ]


def _slope(depths: pd.DataFrame, pooled: float, df: int) -> dict[str, float]:
    """The slope, its interval from the noise that all variants share.

    Args:
        depths: count, mean and variance of the paired differences at each, and its `n_layers`.
        pooled: variance of one run.
        df: degrees of freedom of `pooled`.
    """
    slope, weights = _line(depths)
    # A difference of means over n pairs has variance 2 sd^2 / n.
    parts = weights**2 * 2 * pooled / depths["count"].to_numpy(np.float64)
    return {"slope": slope} | _interval(slope, parts, df)


def _own_slope(depths: pd.DataFrame) -> dict[str, float]:
    """The slope, its interval from the pairs' own spread; arguments as above."""
    slope, weights = _line(depths)
    n, variances = (depths[column].to_numpy(np.float64) for column in ("count", "var"))
    parts = weights**2 * variances / n
    df = float(np.sum(parts) ** 2 / np.sum(parts**2 / (n - 1)))
    sd = math.sqrt(float(np.mean(variances)) / 2)
    return {"slope": slope, "pooled_sd": sd, "df": df} | _interval(slope, parts, df)


def _line(depths: pd.DataFrame) -> tuple[float, Array]:
    """The least-squares slope over log2 of depth, and the weight of each depth in it."""
    x = np.log2(depths["n_layers"].to_numpy(np.float64))
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    return float(weights @ depths["mean"].to_numpy(np.float64)), weights


def _interval(slope: float, variances: Array, df: float) -> dict[str, float]:
    reach = t_quantile(df) * math.sqrt(float(np.sum(variances))) if df else math.nan
    return {"ci_low": slope - reach, "ci_high": slope + reach}
