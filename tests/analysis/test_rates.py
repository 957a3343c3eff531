"""Best learning rates by the protocol's rule, and the comparisons at them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sweeps import rates_study, study_of

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.rates import (
    BEST_COLUMNS,
    RATE_COLUMNS,
    best_rates_table,
    rates_table,
)

Fabricated = Callable[..., Path]
WORTH = {
    # PreNorm is best at 0.5, Full at 0.25, mHC at the edge of its grid.
    "prenorm_x0.125": 0.5, "prenorm_x0.25": 0.8, "prenorm_x0.5": 1.2, "prenorm": 1.0,
    "prenorm_x2": 0.3,
    "full_attnres_x0.125": 1.1, "full_attnres_x0.25": 1.5, "full_attnres_x0.5": 1.0,
    "full_attnres": 0.7, "full_attnres_x2": 0.2,
    "mhc_x0.5": 0.6, "mhc": 0.9, "mhc_x2": 1.3,
}  # fmt: skip


def test_the_best_rate_is_that_of_the_least_mean(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=rates_study(), multipliers=WORTH, noise=1e-5))
    rates = rates_table(results)
    assert list(rates.columns) == RATE_COLUMNS
    assert len(rates) == 13
    best = rates[rates["best"]].set_index("variant")
    assert best["scale"].to_dict() == {"prenorm": 0.5, "full_attnres": 0.25, "mhc": 2.0}
    assert best["edge"].to_dict() == {"prenorm": False, "full_attnres": False, "mhc": True}
    for _, row in rates.iterrows():
        assert row["learning_rate"] == pytest.approx(3e-3 * row["scale"])
        assert row["nats_low"] <= row["nats_per_token"] <= row["nats_high"]


def test_differences_are_to_the_baselines_best(fabricated: Fabricated) -> None:
    """By a computation of their own, from the runs."""
    results = collect(fabricated(study=rates_study((0, 1, 2)), multipliers=WORTH, noise=1e-3))
    table = best_rates_table(results, rates_table(results))
    assert list(table.columns) == BEST_COLUMNS
    assert list(table["variant"]) == ["prenorm", "full_attnres", "mhc"]
    loss = results.runs.pivot(index="seed", columns="label", values="loss")
    base = loss["prenorm_x0.5"]
    row = table.set_index("variant").loc["full_attnres"]
    assert row["difference_at_baseline_rate"] == pytest.approx(
        (loss["full_attnres_x0.5"] - base).mean()
    )
    at_best = (loss["full_attnres_x0.25"] - base).mean()
    assert row["difference_at_best"] == pytest.approx(at_best)
    # Two-way layout of the three best labels: residuals by hand.
    y = loss[["prenorm_x0.5", "full_attnres_x0.25", "mhc_x2"]].to_numpy()
    residuals = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    sd = math.sqrt(np.sum(residuals**2) / 4)
    assert row["pooled_sd"] == pytest.approx(sd)
    assert row["df"] == 4
    reach = stats.t.ppf(0.975, 4) * sd * math.sqrt(2 / 3)
    assert row["at_best_low"] == pytest.approx(at_best - reach)
    assert row["at_best_high"] == pytest.approx(at_best + reach)
    assert math.isnan(table.set_index("variant").loc["prenorm", "difference_at_best"])


def test_a_rate_with_a_failed_run_is_out(fabricated: Fabricated) -> None:
    folder = fabricated(
        study=rates_study(),
        multipliers=WORTH,
        noise=1e-5,
        missing=("prenorm_x0.5-d32-s1", "mhc_x2-d32-s0", "mhc_x2-d32-s1"),
    )
    results = collect(folder)
    rates = rates_table(results)
    best = rates[rates["best"]].set_index("variant")
    assert best.loc["prenorm", "scale"] == 1
    # Beside mHC's best there is a rate that failed, so it is not at the edge.
    assert best.loc["mhc", "scale"] == 1
    assert not best.loc["mhc", "edge"]
    failed = rates[(rates["variant"] == "mhc") & (rates["scale"] == 2)].iloc[0]
    assert failed["n_seeds"] == 0
    assert failed["n_planned"] == 2
    assert math.isnan(failed["nats_per_token"])
    # The rate itself has runs of both, at half the rate one of the baseline's alone.
    table = best_rates_table(results, rates).set_index("variant")
    assert math.isfinite(table.loc["mhc", "difference_at_baseline_rate"])


def test_one_seed_bears_no_interval(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=rates_study((0,)), multipliers=WORTH))
    table = best_rates_table(results, rates_table(results))
    assert table["difference_at_best"].notna().sum() == 2
    assert table["at_best_low"].isna().all()


def test_a_variant_without_any_loss_has_no_best_rate(fabricated: Fabricated) -> None:
    missing = [f"mhc{x}-d32-s{s}" for x in ("", "_x0.5", "_x2") for s in (0, 1)]
    results = collect(fabricated(study=rates_study(), missing=missing))
    rates = rates_table(results)
    assert not rates.loc[rates["variant"] == "mhc", "best"].any()
    assert "mhc" not in set(best_rates_table(results, rates)["variant"])


def test_no_sweep_no_rows(fabricated: Fabricated) -> None:
    study = study_of({"prenorm": {}, "mhc": {"learning_rate_scale": [0.5, 1, 2]}})
    results = collect(fabricated(study=study))
    rates = rates_table(results)
    assert rates.empty
    assert best_rates_table(results, rates).empty
