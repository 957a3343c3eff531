"""Paired differences to the baseline, the noise of a run pooled over all variants of a size.

Two seeds say next to nothing about one variant's spread, but many variants of two seeds each say
much about the spread that they share. Within a size the loss of variant v with seed s is taken as

    y_vs = mu_v + beta_s + e_vs

beta_s being common to all variants of a seed (same batches, same shared starting weights) and e
independent and of one variance for all variants. The variance is that of the least-squares
residuals over all variants, the baseline included: (V - 1)(S - 1) degrees of freedom where no run
is missing. A variant's difference is the mean over the n seeds that it shares with the baseline,
and reaches t * sqrt(2 / n) pooled standard deviations to each side.

A run that is missing or whose loss is not finite is left out: its variant is compared over its
remaining pairs, and the degrees of freedom fall accordingly. One variance for all is an
assumption: a variant that diverges with one seed and not with another would widen every interval
of its size. One whose seeds differ more than the others', by an F test, is therefore left out of
the pool, has the interval of its own pairs (Student's), and a note. Labels whose runs have the
same losses to the last digit are one model and count once in the noise: Block AttnRes with a block
for each sublayer is Full AttnRes.
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import t_quantile
from attnres_eval.analysis.step_times import step_times_table

SPREAD_LEVEL = 0.001
"""A variant is left out of the pool whose seeds differ more than the others', by an F test."""
ROUNDING = 1e-12
"""A pooled spread below this share of the losses was not seen, which is not to say it is zero."""

COLUMNS = [
    "variant",
    "size",
    "n_seeds",
    "difference",
    "ci_low",
    "ci_high",
    "ci_low_all",
    "ci_high_all",
    "pooled_sd",
    "df",
    "difference_bits_per_byte",
    "relative_step_time",
    "relative_peak_memory",
    "parameters_added",
    "relative_flops",
    "note",
]


class Spread(NamedTuple):
    """Residuals of the additive model."""

    squares: float
    """Sum of squared residuals."""
    df: int

    @property
    def variance(self) -> float:
        """NaN without a degree of freedom."""
        return self.squares / self.df if self.df else math.nan


def differences_table(results: Results) -> pd.DataFrame:
    """One row a size and variant but the baseline, in the study's order.

    `difference` is the variant's loss minus the baseline's, nats per token, with a 95% interval
    of its own (`ci_low`, `ci_high`) and one that holds for all variants of the size at once
    (`ci_low_all`, `ci_high_all`, after Bonferroni). `pooled_sd` is the standard deviation of one
    run's own noise; where a variant stands apart, of its own runs. Step time is the calibration's
    ratio where there is one, for runs may have trained beside other work; elsewhere, like peak
    memory, it is the mean over seeds of the ratio to the baseline's run. `parameters_added` is a
    share of the baseline's parameters, `relative_flops` the ratio of training FLOPs.
    """
    study = results.study
    usable = results.finished[np.isfinite(results.finished["loss"].astype(float))]
    usable = usable.assign(seconds_per_token=1 / usable["tokens_per_second"])
    calibrated = step_times_table(study, results.calibration)
    frames = []
    for size in study.sizes:
        planned = results.runs[results.runs["size"] == size]
        frame = _one_size(usable[usable["size"] == size], list(study.variants), study.baseline)
        prices = planned.groupby("label")[["parameters", "flops"]].first()
        prices = prices / prices.loc[study.baseline]
        frame["parameters_added"] = prices["parameters"] - 1
        frame["relative_flops"] = prices["flops"]
        if len(calibrated):
            times = calibrated[calibrated["size"] == size].set_index("variant")
            frame["relative_step_time"] = times["relative_step_time"]
        frame.insert(0, "size", size)
        frames.append(frame.drop(index=study.baseline))
    return pd.concat(frames).rename_axis("variant").reset_index()[COLUMNS]


def _one_size(runs: pd.DataFrame, labels: list[str], baseline: str) -> pd.DataFrame:
    """What was measured at one size, indexed by label."""

    def minus_baseline(column: str) -> pd.DataFrame:
        values = _grid(runs, labels, column)
        return values.sub(values[baseline], axis=0)

    def over_baseline(column: str) -> pd.Series:
        values = _grid(runs, labels, column)
        return values.div(values[baseline], axis=0).mean()

    differences = minus_baseline("loss")
    pairs, mean = differences.count(), differences.mean()
    apart = standing_apart(runs, baseline)
    spread = additive_spread(runs[~runs["label"].isin(apart)])
    sd = pd.Series(math.sqrt(spread.variance), index=labels)
    df = pd.Series(spread.df, index=labels)
    for label in apart:
        # Of one run: a difference has that of two.
        sd[label] = differences[label].std(ddof=1) / math.sqrt(2)
        df[label] = max(int(pairs[label]) - 1, 0)
    error: pd.Series = sd.where(sd > ROUNDING * runs["loss"].mean()) * np.sqrt(
        2 / pairs.where(pairs > 0)
    )
    comparisons = max(int((pairs.drop(baseline) > 0).sum()), 1)
    reach = error * df.map(t_quantile)
    reach_all = error * df.map(lambda own: t_quantile(own, comparisons))
    return pd.DataFrame(
        {
            "n_seeds": pairs,
            "difference": mean,
            "ci_low": mean - reach,
            "ci_high": mean + reach,
            "ci_low_all": mean - reach_all,
            "ci_high_all": mean + reach_all,
            "pooled_sd": sd,
            "df": df,
            "difference_bits_per_byte": minus_baseline("bits_per_byte").mean(),
            "relative_step_time": over_baseline("seconds_per_token"),
            "relative_peak_memory": over_baseline("peak_memory_bytes"),
            "note": [_note(runs, label, apart) for label in labels],
        },
        index=labels,
    )


def _grid(runs: pd.DataFrame, labels: list[str], column: str) -> pd.DataFrame:
    """One measurement by seed (rows) and label (columns); a run that is missing is NaN."""
    table = runs.pivot(index="seed", columns="label", values=column)
    return table.reindex(columns=labels).astype(np.float64)


def additive_spread(runs: pd.DataFrame) -> Spread:
    """Least squares of loss on variant and seed.

    Args:
        runs: of one size, with columns label, seed and loss; any run may be missing.
    """
    return _layout(distinct(runs))


def _layout(runs: pd.DataFrame) -> Spread:
    """`additive_spread` of labels that are a model each."""
    if runs.empty:
        return Spread(0.0, 0)
    # A column of ones and zeros for each variant and each seed.
    factors = [runs[column].to_numpy(str) for column in ("label", "seed")]
    design = np.hstack([np.equal.outer(f, np.unique(f)) for f in factors]).astype(np.float64)
    # Around their mean, so that rounding is that of the differences.
    loss = runs["loss"].to_numpy(np.float64) - runs["loss"].mean()
    fitted, _, rank, _ = np.linalg.lstsq(design, loss)
    residuals = loss - design @ fitted
    # What rounding alone leaves is no spread: another processor rounds otherwise.
    rounding = 8 * np.finfo(np.float64).eps * float(runs["loss"].abs().max())
    squares = 0.0 if np.all(np.abs(residuals) <= rounding) else float(np.sum(residuals**2))
    return Spread(squares, len(runs) - int(rank))


def models(runs: pd.DataFrame, first: str = "") -> dict[str, str]:
    """Every label, and the label that stands for its model, which has most runs.

    Args:
        runs: as for `additive_spread`.
        first: a label that stands for its model whatever its runs.
    """
    losses = {
        str(label): dict(zip(part["seed"], part["loss"], strict=True))
        for label, part in runs.groupby("label", sort=False)
    }
    found: dict[str, str] = {}
    for label in sorted(losses, key=lambda label: (label != first, -len(losses[label]))):
        same = (model for model in found.values() if _agree(losses[label], losses[model]))
        found[label] = next(same, label)
    return {label: found[label] for label in losses}


def _agree(some: dict[int, float], others: dict[int, float]) -> bool:
    """Whether all seeds that both have are the same to the last digit, and there are any."""
    common = some.keys() & others.keys()
    return bool(common) and all(some[seed] == others[seed] for seed in common)


def distinct(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of one label a model; `runs` as for `additive_spread`."""
    return runs[runs["label"].isin(set(models(runs).values()))]


def standing_apart(runs: pd.DataFrame, baseline: str) -> dict[str, str]:
    """Variants whose seeds differ more than the others' spread explains, each with a note.

    The worst is left out first, and the rest is looked at again. The baseline stays in: its noise
    is in every difference.

    Args:
        runs: of one size, as for `additive_spread`.
        baseline: its label.
    """
    known = models(runs, baseline)
    runs = runs[runs["label"].isin(set(known.values()))]
    apart: dict[str, str] = {}
    while True:
        rest = runs[~runs["label"].isin(apart)]
        whole = _layout(rest)
        found = [
            (*_apartness(rest, label, whole), label)
            for label in rest["label"].unique()
            if label != baseline
        ]
        p, note, label = min(found, default=(1.0, "", ""))
        if p > SPREAD_LEVEL:
            return {
                label: said
                for model, said in apart.items()
                for label in known
                if known[label] == model
            }
        apart[label] = note


def apart_somewhere(runs: pd.DataFrame, baseline: str) -> tuple[str, ...]:
    """Variants that stand apart at some size.

    Args:
        runs: finished runs with columns label, size, seed, loss.
        baseline: its label.
    """
    usable = runs[np.isfinite(runs["loss"].astype(float))]
    found = [standing_apart(part, baseline) for _, part in usable.groupby("size", sort=False)]
    return tuple(dict.fromkeys(label for apart in found for label in apart))


def _apartness(runs: pd.DataFrame, label: str, whole: Spread) -> tuple[float, str]:
    """By luck alone, how often a variant's seeds would differ so much more than the others'."""
    others = _layout(runs[runs["label"] != label])
    own_df = whole.df - others.df
    if not own_df or not others.df or not others.squares:
        return 1.0, ""
    ratio = max(0.0, whole.squares - others.squares) / own_df / others.variance
    return (
        float(stats.f.sf(ratio, own_df, others.df)),
        f"its seeds differ {math.sqrt(ratio):.1f} times as much as the others'"
        f" (sd {math.sqrt(others.variance):.2g}): its interval is of its own pairs",
    )


def _note(runs: pd.DataFrame, label: str, apart: dict[str, str]) -> str:
    return apart.get(label, "") if (runs["label"] == label).any() else "no finished run"
