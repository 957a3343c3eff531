"""What figures and sentences take out of the tables."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attnres_eval.analysis.intervals import Array
from attnres_eval.analysis.multiplier import BOTH_OWN, SHARED
from attnres_eval.analysis.questions import ACCURACY
from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.report.style import label_title


@dataclass(frozen=True)
class Curve:
    """A fitted loss in nats per token: L = e + a (C / unit)^-alpha, C in FLOPs or seconds."""

    a: float
    alpha: float
    e: float = 0.0
    unit: float = PFLOPS_DAY
    """Of the compute by which the curve was fitted."""

    def loss(self, compute: Array) -> Array:
        """The loss at each compute."""
        return np.asarray(self.e + self.a * (np.asarray(compute) / self.unit) ** -self.alpha)

    def compute(self, loss: Array) -> Array:
        """The compute that each loss takes; NaN at or below the irreducible loss."""
        reducible = np.asarray(loss, dtype=np.float64) - self.e
        above = np.where(reducible > 0, reducible, np.nan)
        return np.asarray(self.unit * (above / self.a) ** (-1 / self.alpha))


def of_model(table: pd.DataFrame, model: str = SHARED) -> pd.DataFrame:
    """The rows of one fit model."""
    return table[table["model"] == model].reset_index(drop=True)


def curves(fits: pd.DataFrame, unit: float = PFLOPS_DAY) -> dict[str, Curve]:
    """The fitted curve, one exponent for all, of each variant that has one.

    Args:
        fits: a table of fits.
        unit: of their compute, in FLOPs or seconds.
    """
    rows = of_model(fits).dropna(subset=["a", "alpha"])
    return {
        str(variant): Curve(float(a), float(alpha), 0.0 if pd.isna(e) else float(e), unit)
        for variant, a, alpha, e in zip(
            rows["variant"], rows["a"], rows["alpha"], rows["e"], strict=True
        )
    }


def has_interval(row: pd.Series, low: str = "ci_low", high: str = "ci_high") -> bool:
    """Whether a row has both ends of its interval."""
    return bool(pd.notna(row[low]) and pd.notna(row[high]))


def primary_scores(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """One row a task, size and variant: the accuracy that the task is judged by."""
    accuracy = benchmarks[benchmarks["metric"].isin(ACCURACY)].copy()
    accuracy["rank"] = accuracy["metric"].map(ACCURACY.index)
    best = accuracy.groupby(["task", "size", "variant"])["rank"].transform("min")
    return accuracy[accuracy["rank"] == best].drop(columns="rank").reset_index(drop=True)


def main_row(multipliers: pd.DataFrame, variant: str) -> pd.Series:
    """The row of a variant's multiplier that is the result."""
    rows = of_model(multipliers)
    return rows[rows["variant"] == variant].iloc[0]


def headline_variant(multipliers: pd.DataFrame, variants: Iterable[str]) -> str | None:
    """The variant that the report opens with: Block AttnRes, or else the study's first."""
    known = set(of_model(multipliers).dropna(subset=["multiplier"])["variant"])
    first = [name for name in ("block_attnres", *variants) if name in known]
    return first[0] if first else None


SUMMARY_COLUMNS = ["multiplier", "ci_low", "ci_high"]


def multiplier_summary(multipliers: pd.DataFrame, time_multipliers: pd.DataFrame) -> pd.DataFrame:
    """Each variant's multiplier at equal FLOPs and, in columns ending in `_time`, at equal time."""
    by_variant = [
        of_model(table)[["variant", *SUMMARY_COLUMNS]] for table in (multipliers, time_multipliers)
    ]
    return by_variant[0].merge(by_variant[1], on="variant", how="left", suffixes=("", "_time"))


AT_EQUAL_TIME = "at equal time"
OVER_OWN = "over the baseline's own rate"


def multiplier_rows(multipliers: pd.DataFrame, time_multipliers: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure of multipliers: each variant's results, then their checks.

    A result at equal time, or over the baseline at a rate of its own, stands under the one at
    equal FLOPs and at the rate of all; the former has no checks of its own here.

    Returns:
        The columns of `multipliers`, `row` (the text beside the dot) and `main` (whether it is a
        result); rows without a multiplier are left out.
    """
    timed = of_model(time_multipliers).assign(model=AT_EQUAL_TIME)
    rows = pd.concat([multipliers, timed[timed.columns.intersection(multipliers.columns)]])
    rows = rows.dropna(subset=["multiplier"]).replace({"model": {BOTH_OWN: OVER_OWN}})
    rows["main"] = rows["model"].isin([SHARED, AT_EQUAL_TIME, OVER_OWN])
    variants = list(dict.fromkeys(multipliers["variant"]))
    rows["place"] = rows["variant"].map(variants.index)
    rows = rows.sort_values(["place", "main"], ascending=[True, False], kind="stable")
    rows["row"] = [
        label_title(variant) if model == SHARED else model
        for variant, model in zip(rows["variant"], rows["model"], strict=True)
    ]
    return rows.drop(columns="place").reset_index(drop=True)
