"""What figures and sentences take out of the tables."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attnres_eval.analysis.intervals import Array
from attnres_eval.analysis.multiplier import SHARED
from attnres_eval.analysis.questions import ACCURACY
from attnres_eval.cost import PFLOPS_DAY


@dataclass(frozen=True)
class Curve:
    """A fitted loss in nats per token: L = e + a (C / PFLOPS_DAY)^-alpha."""

    a: float
    alpha: float
    e: float = 0.0

    def loss(self, flops: Array) -> Array:
        """The loss at each compute."""
        return np.asarray(self.e + self.a * (np.asarray(flops) / PFLOPS_DAY) ** -self.alpha)

    def flops(self, loss: Array) -> Array:
        """The compute that each loss takes; NaN at or below the irreducible loss."""
        reducible = np.asarray(loss, dtype=np.float64) - self.e
        above = np.where(reducible > 0, reducible, np.nan)
        return np.asarray(PFLOPS_DAY * (above / self.a) ** (-1 / self.alpha))


def of_model(table: pd.DataFrame, model: str = SHARED) -> pd.DataFrame:
    """The rows of one fit model."""
    return table[table["model"] == model].reset_index(drop=True)


def curves(fits: pd.DataFrame, model: str = SHARED) -> dict[str, Curve]:
    """The fitted curve of each variant that has one."""
    rows = of_model(fits, model).dropna(subset=["a", "alpha"])
    return {
        str(variant): Curve(float(a), float(alpha), 0.0 if pd.isna(e) else float(e))
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
