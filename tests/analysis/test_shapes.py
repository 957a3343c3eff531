"""Depth against width: slopes against a known truth and numpy's own line."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricate import make_study
from scipy import stats
from sweeps import SHAPES, shapes_study, shapes_study_at_own_rates, study_of

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.frames import fits_table, multipliers_table
from attnres_eval.analysis.pooled import additive_spread, differences_table
from attnres_eval.analysis.shapes import (
    is_over_shapes,
    shape_slopes_table,
    shapes_table,
)
from attnres_eval.report.words_over import shapes_headline, shapes_sentences

Fabricated = Callable[..., Path]


def test_what_is_over_shapes() -> None:
    assert is_over_shapes(shapes_study())
    assert not is_over_shapes(make_study())


def test_the_slope_is_the_line_of_the_differences(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=shapes_study(), noise=2e-3))
    shapes = shapes_table(results, differences_table(results))
    assert list(shapes.loc[shapes["variant"] == "prenorm", "n_layers"]) == [4, 8, 16, 32]
    slopes = shape_slopes_table(results, shapes).set_index("variant")
    runs = results.runs
    loss = runs.pivot(index=["n_layers", "seed"], columns="label", values="loss")
    means = (loss["full_attnres"] - loss["prenorm"]).groupby("n_layers").mean()
    line = stats.linregress(np.log2(means.index.to_numpy(float)), means.to_numpy())
    row = slopes.loc["full_attnres"]
    assert row["slope"] == pytest.approx(line.slope)
    spreads = [additive_spread(part) for _, part in runs.groupby("size")]
    sd = math.sqrt(sum(s.squares for s in spreads) / sum(s.df for s in spreads))
    # log2 of 4, 8, 16, 32 about its mean: squares add up to 5.
    reach = stats.t.ppf(0.975, 16) * sd * math.sqrt(2 / 3 / 5)
    assert row["df"] == 16
    assert row["ci_high"] - row["slope"] == pytest.approx(reach)
    assert row["slope"] - row["ci_low"] == pytest.approx(reach)
    assert math.isnan(slopes.loc["prenorm", "slope"])


def test_a_diverged_run_widens_its_own_slope_alone(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=shapes_study(), noise=2e-3))
    usual = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    runs = results.runs
    runs.loc[runs["run"] == "full_attnres-l32-s1", "loss"] += 1.0
    slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    usual, slopes = usual.set_index("variant"), slopes.set_index("variant")
    wide, same = ["full_attnres", "block_attnres"]
    assert slopes.loc[same, "slope"] == usual.loc[same, "slope"]
    before, after = (t.loc[same, "ci_high"] - t.loc[same, "ci_low"] for t in (usual, slopes))
    assert after == pytest.approx(before, rel=0.5)
    # Welch's interval, by hand: depths weigh -1.5, -.5, .5 and 1.5 over 5.
    loss = runs.pivot(index=["n_layers", "seed"], columns="label", values="loss")
    pairs = (loss[wide] - loss["prenorm"]).groupby("n_layers")
    weights = np.array([-1.5, -0.5, 0.5, 1.5]) / 5
    parts = weights**2 * pairs.var().to_numpy() / 3
    df = parts.sum() ** 2 / (parts**2 / 2).sum()
    row = slopes.loc[wide]
    assert row["slope"] == pytest.approx(weights @ pairs.mean().to_numpy())
    assert row["df"] == pytest.approx(df)
    reach = stats.t.ppf(0.975, df) * math.sqrt(parts.sum())
    assert row["ci_high"] - row["slope"] == pytest.approx(reach)
    assert row["pooled_sd"] == pytest.approx(math.sqrt(pairs.var().mean() / 2))
    words = shapes_sentences(results, slopes.reset_index())
    assert "but for Full AttnRes, whose seeds stand apart at a depth" in words[0]
    assert "apart" not in shapes_sentences(results, usual.reset_index())[0]


@pytest.mark.parametrize("apart", [None, "full_attnres_own", "prenorm_own"])
def test_own_rates_are_compared_with_the_baseline_at_its_own(
    fabricated: Fabricated, apart: str | None
) -> None:
    results = collect(fabricated(study=shapes_study_at_own_rates(), noise=2e-3))
    runs = results.runs
    if apart:
        runs.loc[runs["run"] == f"{apart}-l32-s1", "loss"] += 1.0
    slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    labels = ["prenorm", "prenorm_own", "full_attnres", "full_attnres_own", "mhc"]
    wanted = [(label, "prenorm") for label in labels] + [("full_attnres_own", "prenorm_own")]
    assert list(zip(slopes["variant"], slopes["over"], strict=True)) == wanted
    row = slopes.iloc[-1]
    loss = runs.pivot(index=["n_layers", "seed"], columns="label", values="loss")
    pairs = (loss["full_attnres_own"] - loss["prenorm_own"]).groupby("n_layers")
    weights = np.array([-1.5, -0.5, 0.5, 1.5]) / 5
    assert row["slope"] == pytest.approx(weights @ pairs.mean().to_numpy())
    variances = pairs.var().to_numpy() if apart else np.full(4, 2 * row["pooled_sd"] ** 2)
    parts = weights**2 * variances / 3
    df = parts.sum() ** 2 / (parts**2 / 2).sum() if apart else 4 * 4 * 2
    assert row["df"] == pytest.approx(df)
    reach = stats.t.ppf(0.975, df) * math.sqrt(parts.sum())
    assert row["ci_high"] - row["slope"] == pytest.approx(reach)
    usual = slopes.set_index(["variant", "over"])["pooled_sd"]
    assert usual["mhc", "prenorm"] == usual["prenorm", "prenorm"]
    words = shapes_sentences(results, slopes)
    assert any("AttnRes at its own rate" in text and "PreNorm at its own" in text for text in words)
    over = "Full AttnRes at its own rate over PreNorm at its own rate"
    assert (over in words[0]) == bool(apart)
    headline = shapes_headline(results, slopes)
    assert headline.count("Full AttnRes at its own rate") == 1
    assert "PreNorm at its own rate" not in headline


def test_the_depths_of_a_slope_are_those_of_its_pairs(fabricated: Fabricated) -> None:
    missing = [f"prenorm_own-l4-s{seed}" for seed in (0, 1, 2)]
    results = collect(fabricated(study=shapes_study_at_own_rates(), missing=missing))
    slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    depths = slopes.set_index(["variant", "over"])["n_depths"]
    assert depths["full_attnres_own", "prenorm"] == 4
    assert depths["full_attnres_own", "prenorm_own"] == 3


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["pooled", "apart"])
def test_a_slope_counts_pairs(fabricated: Fabricated, shift: float) -> None:
    """A run of the baseline that is missing takes the pair of every variant."""
    missing = ["prenorm-l4-s0"]
    results = collect(fabricated(study=shapes_study(), noise=2e-3, missing=missing))
    runs = results.runs
    runs.loc[runs["run"] == "full_attnres-l32-s1", "loss"] += shift
    slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    row = slopes.set_index("variant").loc["full_attnres"]
    loss = results.finished.pivot(index=["n_layers", "seed"], columns="label", values="loss")
    pairs = (loss["full_attnres"] - loss["prenorm"]).dropna().groupby("n_layers")
    assert list(pairs.count()) == [2, 3, 3, 3]
    weights = np.array([-1.5, -0.5, 0.5, 1.5]) / 5
    variances = pairs.var().to_numpy() if shift else np.full(4, 2 * row["pooled_sd"] ** 2)
    parts = weights**2 * variances / pairs.count().to_numpy()
    df = parts.sum() ** 2 / (parts**2 / (pairs.count().to_numpy() - 1)).sum()
    assert row["df"] == pytest.approx(df if shift else 15)
    reach = stats.t.ppf(0.975, row["df"]) * math.sqrt(parts.sum())
    assert row["ci_high"] - row["slope"] == pytest.approx(reach)


def test_the_interval_of_a_slope_holds_the_truth(fabricated: Fabricated) -> None:
    held = 0
    for seed in range(40):
        folder = fabricated(study=shapes_study(), noise=3e-3, random_seed=seed)
        results = collect(folder)
        slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
        row = slopes.set_index("variant").loc["block_attnres"]
        # Equal multipliers; what the residual's own FLOPs add is far below the noise.
        held += row["ci_low"] <= 0 <= row["ci_high"]
    assert held >= 34


def test_the_depth_of_least_loss(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=shapes_study(), noise=1e-3))
    slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    means = results.runs.groupby(["label", "n_layers"])["loss"].mean()
    for _, row in slopes.iterrows():
        assert row["best_n_layers"] == means[row["variant"]].idxmin()
        assert row["best_nats_per_token"] == pytest.approx(means[row["variant"]].min())


def test_no_power_law_is_fitted_to_one_budget(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=shapes_study()))
    fits = fits_table(results)
    assert fits["a"].isna().all()
    assert "factor of 1.5" in fits["note"].iloc[0]
    assert multipliers_table(results)["multiplier"].isna().all()


def test_missing_runs_leave_their_depth_out(fabricated: Fabricated) -> None:
    missing = [f"full_attnres-l{n}-s{s}" for n in (16, 32) for s in (0, 1, 2)]
    results = collect(fabricated(study=shapes_study(), missing=missing))
    shapes = shapes_table(results, differences_table(results))
    slopes = shape_slopes_table(results, shapes).set_index("variant")
    assert slopes.loc["full_attnres", "n_depths"] == 2
    (least,) = [text for text in shapes_sentences(results, slopes.reset_index()) if "least" in text]
    assert "Block AttnRes" in least
    assert "Full AttnRes" not in least
    assert shapes_sentences(results, slopes.reset_index().assign(n_depths=2)) == []
    assert math.isnan(slopes.loc["full_attnres", "slope"])
    assert math.isfinite(slopes.loc["block_attnres", "slope"])


def test_the_price_is_of_variants_at_the_same_tokens(fabricated: Fabricated) -> None:
    matched = {"variant": "prenorm", "flops_of": "full_attnres"}
    labels = {"prenorm": {}, "full_attnres": {}, "prenorm_matched": matched}
    results = collect(fabricated(study=study_of(labels, SHAPES, (0, 1))))
    slopes = shape_slopes_table(results, shapes_table(results, differences_table(results)))
    (price,) = [text for text in shapes_sentences(results, slopes) if "the same tokens" in text]
    assert "Full AttnRes" in price
    assert "(matched)" not in price


def test_other_studies_have_none(fabricated: Fabricated) -> None:
    results = collect(fabricated())
    shapes = shapes_table(results, differences_table(results))
    assert shapes.empty
    assert shape_slopes_table(results, shapes).empty
