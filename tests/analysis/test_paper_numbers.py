"""The reproduction gives the numbers that arXiv:2603.15031 prints or implies."""

import math

import numpy as np
import pytest

from attnres_eval.analysis.paper import (
    COLUMNS,
    downstream_table,
    fits_table,
    multipliers_table,
    paired_regression_multiplier,
    paper_tables,
)

TABLE = multipliers_table()


def row(variant: str, source: str) -> dict[str, float]:
    found = TABLE[(TABLE["variant"] == variant) & TABLE["source"].str.contains(source)]
    assert len(found) == 1
    return found.iloc[0].to_dict()


def test_columns() -> None:
    assert list(TABLE.columns) == COLUMNS
    assert COLUMNS == [
        "variant",
        "target_compute_pflops_days",
        "multiplier",
        "ci_low",
        "ci_high",
        "source",
    ]
    assert TABLE.notna().all(axis=None)


def test_printed_coefficients() -> None:
    block = row("block_attnres", "printed coefficients")
    assert block["target_compute_pflops_days"] == 5.6
    assert round(block["multiplier"], 3) == 1.254
    assert round(block["ci_low"], 2) == 1.22
    assert round(block["ci_high"], 2) == 1.29
    assert round(row("full_attnres", "printed coefficients")["multiplier"], 3) == 1.275


def test_printed_loss_inverted() -> None:
    block = row("block_attnres", "inverted at the printed loss")
    assert round(block["multiplier"], 3) == 1.256
    assert block["multiplier"] == pytest.approx((1.891 / 1.692) ** (1 / 0.057) / 5.6)


@pytest.mark.parametrize(
    ("variant", "multiplier"),
    [("block_attnres", 1.283), ("full_attnres", 1.33), ("mhc_lite", 1.27)],
)
def test_refit_at_the_largest_size(variant: str, multiplier: float) -> None:
    refit = row(variant, "an exponent each")
    assert refit["target_compute_pflops_days"] == pytest.approx(4.363, abs=5e-4)
    assert refit["multiplier"] == pytest.approx(multiplier, abs=6e-3)
    assert refit["ci_low"] < refit["multiplier"] < refit["ci_high"]
    assert "residuals only" in str(refit["source"])


def test_refitted_curves() -> None:
    fits = fits_table().set_index(["variant", "source"])
    refitted = fits.xs("table 2 refitted under C = 6ND", level="source")
    expected = {
        "baseline": (1.862, 0.0549),
        "block_attnres": (1.841, 0.0565),
        "full_attnres": (1.835, 0.0558),
    }
    for variant, (a, alpha) in expected.items():
        assert round(refitted.loc[variant, "a"], 3) == a
        assert round(refitted.loc[variant, "alpha"], 4) == alpha


@pytest.mark.parametrize(
    ("variant", "numbers"),
    [
        ("block_attnres", (1.24, 1.19, 1.30)),
        ("full_attnres", (1.31, 1.24, 1.38)),
        ("mhc_lite", (1.26, 1.22, 1.31)),
    ],
)
def test_paired_by_size(variant: str, numbers: tuple[float, float, float]) -> None:
    paired = row(variant, "geometric mean over its five sizes")
    found = (paired["multiplier"], paired["ci_low"], paired["ci_high"])
    assert tuple(round(value, 2) for value in found) == numbers


def test_paired_regression_covers_the_truth() -> None:
    random = np.random.default_rng(0)
    x = np.linspace(-1.0, 1.5, 5)
    true_log, alpha, hits, draws = math.log(1.3), 0.055, 0, 1000
    for _ in range(draws):
        common = 0.002 * random.standard_normal(5)
        base = 0.6 - alpha * x + common + 0.0003 * random.standard_normal(5)
        other = 0.6 - alpha * true_log - alpha * x + common + 0.0003 * random.standard_normal(5)
        _, interval = paired_regression_multiplier(x, base, base - other, 1.5)
        hits += interval.contains(1.3)
    assert hits / draws == pytest.approx(0.95, abs=0.025)


def test_differences_with_binomial_intervals() -> None:
    table = downstream_table().set_index("task")
    gpqa = table.loc["GPQA-Diamond"]
    assert gpqa["difference"] == 7.5
    assert round((gpqa["ci_high"] - gpqa["ci_low"]) / 2, 1) == 9.6
    error = math.sqrt((0.369 * 0.631 + 0.444 * 0.556) / 198)
    assert gpqa["ci_high"] == pytest.approx(7.5 + 195.996 * error, abs=1e-3)
    unknown = table[table["questions"].isna()]
    assert {"TriviaQA", "MGSM", "Math", "CMath", "CMMLU", "C-Eval"} == set(unknown.index)
    assert unknown[["ci_low", "ci_high"]].isna().all(axis=None)


def test_ablation_differences() -> None:
    tables = paper_tables()
    ablation = tables["ablation"].set_index("variant")["difference"]
    assert ablation["prenorm"] == 0
    assert ablation["full_attnres"] == -0.029
    assert len(tables["scaling"]) == 20
