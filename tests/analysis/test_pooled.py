"""Pooled differences: against independent computations, and by simulation."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study
from scipy import stats

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.coverage import estimate_noise
from attnres_eval.analysis.frames import cells_table
from attnres_eval.analysis.pooled import (
    COLUMNS,
    additive_spread,
    differences_table,
    models,
    standing_apart,
)

Fabricated = Callable[..., Path]
LABELS = ["prenorm", *(f"other{i}" for i in range(6))]


def runs_of(losses: Mapping[tuple[str, int], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "label": label,
                "seed": seed,
                "size": "d32",
                "loss": loss,
                "bits_per_byte": loss / 2,
                "parameters": 1000 if label == "prenorm" else 1100,
                "flops": 4e12 if label == "prenorm" else 5e12,
                "tokens_per_second": 100.0 if label == "prenorm" else 80.0,
                "peak_memory_bytes": 200.0 if label == "prenorm" else 300.0,
            }
            for (label, seed), loss in losses.items()
        ]
    )


def table_of(losses: Mapping[tuple[str, int], float], labels: list[str] = LABELS) -> pd.DataFrame:
    """The table of runs at one size; a run whose loss is NaN is planned and has no result."""
    runs = runs_of(losses)
    study = make_study(labels, n_sizes=1, seeds=sorted({seed for _, seed in losses}))
    finished = runs[runs["loss"].notna()]
    results: Any = SimpleNamespace(study=study, runs=runs, finished=finished, calibration=None)
    return differences_table(results).set_index("variant")


def noisy(
    labels: list[str] = LABELS, n_seeds: int = 2, sd: float = 0.01, random_seed: int = 0
) -> dict[tuple[str, int], float]:
    random = np.random.default_rng(random_seed)
    common = random.normal(0, 0.05, n_seeds)
    return {
        (label, seed): 4 - 0.02 * place + common[seed] + random.normal(0, sd)
        for place, label in enumerate(labels)
        for seed in range(n_seeds)
    }


def by_dummies(losses: Mapping[tuple[str, int], float]) -> tuple[float, int]:
    """Residual variance and degrees of freedom through the normal equations of dummies."""
    labels = sorted({label for label, _ in losses})
    seeds = sorted({seed for _, seed in losses})
    rows = [
        [1.0]
        + [float(label == other) for other in labels[1:]]
        + [float(seed == other) for other in seeds[1:]]
        for label, seed in losses
    ]
    x, y = np.array(rows), np.array(list(losses.values()))
    residual = y - x @ np.linalg.inv(x.T @ x) @ (x.T @ y)
    df = len(y) - x.shape[1]
    return float(residual @ residual) / df, df


def test_complete_studies_agree_with_the_closed_form_and_with_dummies() -> None:
    losses = noisy(n_seeds=3)
    table = table_of(losses)
    grid = np.array([[losses[label, seed] for seed in range(3)] for label in LABELS])
    residual = grid - grid.mean(1, keepdims=True) - grid.mean(0) + grid.mean()
    df = (len(LABELS) - 1) * (3 - 1)
    variance = float((residual**2).sum()) / df
    assert (variance, df) == pytest.approx(by_dummies(losses))
    for place, label in enumerate(LABELS[1:], 1):
        row = table.loc[label]
        assert (row["n_seeds"], row["df"]) == (3, df)
        assert row["pooled_sd"] == pytest.approx(math.sqrt(variance))
        expected = grid[place].mean() - grid[0].mean()
        assert row["difference"] == pytest.approx(expected)
        for ends, share in (
            (("ci_low", "ci_high"), 0.05),
            (("ci_low_all", "ci_high_all"), 0.05 / 6),
        ):
            reach = stats.t.isf(share / 2, df) * math.sqrt(2 * variance / 3)
            assert tuple(row[list(ends)]) == pytest.approx((expected - reach, expected + reach))


def test_two_variants_are_students_paired_test(fabricated: Fabricated) -> None:
    study = make_study(["prenorm", "block_attnres"], n_sizes=2)
    results = collect(fabricated(study=study, multipliers={"block_attnres": 1.2}))
    pooled = differences_table(results).set_index("size")
    cells = cells_table(results)
    cells = cells[cells["variant"] == "block_attnres"].set_index("size")
    for column in ("difference", "ci_low", "ci_high"):
        np.testing.assert_allclose(pooled[column], cells[column], rtol=1e-6)
    np.testing.assert_array_equal(pooled["ci_low_all"], pooled["ci_low"])


def test_a_missing_run_costs_its_pair_and_a_degree_of_freedom() -> None:
    losses = noisy(n_seeds=3)
    losses["other2", 1] = math.nan
    table = table_of(losses)
    variance, df = by_dummies({key: loss for key, loss in losses.items() if loss == loss})
    assert df == 6 * 2 - 1
    row = table.loc["other2"]
    assert (row["n_seeds"], row["df"]) == (2, df)
    pairs = [losses["other2", seed] - losses["prenorm", seed] for seed in (0, 2)]
    reach = stats.t.isf(0.025, df) * math.sqrt(2 * variance / 2)
    assert row["difference"] == pytest.approx(np.mean(pairs))
    assert row["ci_high"] - row["difference"] == pytest.approx(reach)
    assert table.loc["other1", "n_seeds"] == 3


def test_without_any_run_a_variant_is_a_hole_and_no_comparison() -> None:
    losses = noisy()
    whole = table_of(losses)
    for seed in (0, 1):
        losses["other5", seed] = math.nan
    table = table_of(losses)
    hole = table.loc["other5"]
    assert hole[["difference", "ci_low", "ci_low_all", "relative_step_time"]].isna().all()
    assert (hole["n_seeds"], hole["note"]) == (0, "no finished run")
    assert hole["parameters_added"] == pytest.approx(0.1)
    reach = (table["ci_high_all"] - table["difference"])["other1"] / table["pooled_sd"]["other1"]
    assert reach == pytest.approx(stats.t.isf(0.025 / 5, 5))
    assert (whole["df"]["other1"], table["df"]["other1"]) == (6, 5)


def test_a_baseline_that_is_missing_leaves_no_difference() -> None:
    losses = noisy() | {("prenorm", 0): math.nan, ("prenorm", 1): math.nan}
    table = table_of(losses)
    assert table[["difference", "ci_low"]].isna().all(axis=None)
    assert (table["n_seeds"] == 0).all()


@pytest.mark.parametrize(
    "losses",
    # Without noise the sums of some losses come out even and those of others do not.
    [noisy(n_seeds=1), *(noisy(n_seeds=n, sd=0.0, random_seed=n) for n in (2, 3, 4, 5))],
    ids=["one seed", *(f"no noise, {n} seeds" for n in (2, 3, 4, 5))],
)
def test_no_spread_no_interval(losses: dict[tuple[str, int], float]) -> None:
    table = table_of(losses)
    assert table["difference"].notna().all()
    assert table[["ci_low", "ci_high", "ci_low_all", "ci_high_all"]].isna().all(axis=None)


def test_costs_are_ratios_to_the_baseline() -> None:
    row = table_of(noisy()).loc["other3"]
    assert row["relative_step_time"] == pytest.approx(1.25)
    assert row["relative_peak_memory"] == pytest.approx(1.5)
    assert row["parameters_added"] == pytest.approx(0.1)
    assert row["relative_flops"] == pytest.approx(1.25)
    assert row["difference_bits_per_byte"] == pytest.approx(row["difference"] / 2)


def test_a_variant_whose_seeds_fly_apart_leaves_the_others_as_they_are() -> None:
    losses = noisy(n_seeds=3, sd=0.01)
    others = [label for label in LABELS if label != "other4"]
    without = table_of({run: loss for run, loss in losses.items() if run[0] in others}, others)
    losses["other4", 0] += 1.0
    table = table_of(losses)
    assert "seeds differ" in table["note"]["other4"]
    rest = table.drop("other4")
    assert (rest["note"] == "").all()
    for column in ("difference", "ci_low", "ci_high", "pooled_sd", "df"):
        assert list(rest[column]) == pytest.approx(list(without[column]))
    # Its own interval is Student's over its pairs.
    pairs = np.array([losses["other4", seed] - losses["prenorm", seed] for seed in range(3)])
    low, high = stats.t.interval(0.95, 2, pairs.mean(), stats.sem(pairs))
    row = table.loc["other4"]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    assert row["df"] == 2
    low, high = stats.t.interval(1 - 0.05 / 6, 2, pairs.mean(), stats.sem(pairs))
    assert (row["ci_low_all"], row["ci_high_all"]) == pytest.approx((low, high))


def test_several_variants_that_fly_apart_are_all_found_but_never_the_baseline() -> None:
    losses = noisy(n_seeds=3, sd=0.01)
    losses["other4", 0] += 1.0
    losses["other2", 1] += 0.4
    assert list(standing_apart(runs_of(losses), "prenorm")) == ["other4", "other2"]
    assert list(standing_apart(runs_of(losses), "other4")) == []
    assert standing_apart(runs_of(noisy(n_seeds=3)), "prenorm") == {}
    assert standing_apart(runs_of(noisy(n_seeds=1)), "prenorm") == {}


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["pooled", "apart"])
@pytest.mark.parametrize("twin_of", ["prenorm", "other1", "other4"])
def test_two_labels_of_one_model_count_once(twin_of: str, shift: float) -> None:
    losses = noisy(n_seeds=3)
    losses["other4", 0] += shift
    without = table_of(losses)
    twins = {("twin", seed): losses[twin_of, seed] for seed in range(3)}
    apart = ["other4", "twin"] if twin_of == "other4" else ["other4"]
    # Before or after its twin in the study.
    for order in ({**losses, **twins}, {**twins, **losses}):
        table = table_of(order, [*LABELS, "twin"])
        assert list(table["note"].drop("twin")) == list(without["note"])
        for column in ("difference", "ci_low", "ci_high", "pooled_sd", "df"):
            assert list(table[column].drop("twin")) == pytest.approx(list(without[column]))
            if twin_of != "prenorm":
                assert table[column]["twin"] == pytest.approx(without[column][twin_of])
        assert set(standing_apart(runs_of(order), "prenorm")) == set(apart if shift else [])


def test_which_labels_are_one_model() -> None:
    losses = noisy(n_seeds=3)
    # One seed alike is none; the baseline stands for its model even where it lacks a run.
    losses["other1", 0] = losses["other2", 0]
    twins = {("twin", seed): losses["prenorm", seed] for seed in range(3)}
    runs = runs_of({**twins, **losses})
    runs = runs[(runs["label"] != "prenorm") | (runs["seed"] != 1)]
    others = {label: label for label in LABELS[1:]}
    assert models(runs, "prenorm") == others | {"prenorm": "prenorm", "twin": "prenorm"}
    assert models(runs) == others | {"prenorm": "twin", "twin": "twin"}


def test_simulated_noise_counts_a_model_once() -> None:
    losses = noisy(n_seeds=3)
    twins = {("twin", seed): losses["other4", seed] for seed in range(3)}
    noises = [estimate_noise(runs_of(of), "prenorm") for of in (losses, losses | twins)]
    assert noises[0] == noises[1]


@pytest.mark.parametrize("missing", ["other4", "twin"])
def test_a_model_whose_label_lacks_a_run_counts_once(missing: str) -> None:
    losses = noisy(n_seeds=3)
    losses["other4", 0] += 1.0
    runs = runs_of({**losses, **{("twin", seed): losses["other4", seed] for seed in range(3)}})
    runs = runs[(runs["label"] != missing) | (runs["seed"] != 2)]
    assert models(runs)["twin"] == models(runs)["other4"] != missing
    assert set(standing_apart(runs, "prenorm")) == {"other4", "twin"}
    assert additive_spread(runs).df == additive_spread(runs_of(losses)).df
    (noise, wanted) = (estimate_noise(of, "prenorm") for of in (runs, runs_of(losses)))
    assert noise == wanted


def test_spread_of_the_others_is_independent_of_one_variant() -> None:
    """The note's F ratio has the distribution it is judged by: its mean is df / (df - 2)."""
    ratios = []
    for random_seed in range(400):
        runs = runs_of(noisy(n_seeds=4, random_seed=random_seed))
        whole = additive_spread(runs)
        others = additive_spread(runs[runs["label"] != "other1"])
        own = (whole.squares - others.squares) / (whole.df - others.df)
        ratios.append(own / others.variance)
    assert (whole.df - others.df, others.df) == (3, 15)
    assert np.mean(np.array(ratios) > stats.f.isf(0.05, 3, 15)) == pytest.approx(0.05, abs=0.03)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    labels = ["prenorm", *(f"other{i}" for i in range(9))]
    truth = {label: -0.02 * place for place, label in enumerate(labels)}
    single, all_at_once, draws = 0, 0, 400
    for random_seed in range(draws):
        table = table_of(noisy(labels, random_seed=random_seed), labels)
        wanted = table.index.map(truth.__getitem__).to_numpy()
        single += int(((table["ci_low"] <= wanted) & (wanted <= table["ci_high"])).sum())
        inside = (table["ci_low_all"] <= wanted) & (wanted <= table["ci_high_all"])
        all_at_once += int(inside.all())
    # One draw's nine intervals share a baseline and a spread: 400 draws know the share to 0.6%.
    # Bonferroni is conservative: the differences share the baseline.
    assert 0.93 <= single / draws / 9 <= 0.97
    assert 0.94 <= all_at_once / draws < 1


def test_every_size_is_pooled_alone(fabricated: Fabricated) -> None:
    results = collect(fabricated(multipliers={"full_attnres": 0.8}))
    table = differences_table(results)
    assert list(table.columns) == COLUMNS
    assert list(table["size"]) == [size for size in ("d32", "d48", "d64") for _ in range(2)]
    assert table.groupby("size")["pooled_sd"].nunique().eq(1).all()
    assert table["pooled_sd"].nunique() == 3
    assert set(table["df"]) == {4}
    runs = results.runs.set_index("run")
    row = table[(table["size"] == "d64") & (table["variant"] == "full_attnres")].iloc[0]
    base, own = runs.loc["prenorm-d64-s0"], runs.loc["full_attnres-d64-s0"]
    assert row["relative_flops"] == own["flops"] / base["flops"]
    assert row["parameters_added"] == own["parameters"] / base["parameters"] - 1


@pytest.mark.parametrize("random_seed", range(8))
def test_a_variant_just_as_the_others_are_on_average_adds_no_squares(random_seed: int) -> None:
    """What it adds is rounding, of either sign."""
    losses = noisy(n_seeds=3, random_seed=random_seed)
    others = [label for label in LABELS if label != "other4"]
    for seed in range(3):
        losses["other4", seed] = float(np.mean([losses[label, seed] for label in others]))
    assert standing_apart(runs_of(losses), "prenorm") == {}
