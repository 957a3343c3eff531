"""From a fabricated folder to tables."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study, rewrite
from scipy import stats

from attnres_eval.analysis.benchmarks import benchmarks_table
from attnres_eval.analysis.collect import Results, collect
from attnres_eval.analysis.frames import cells_table, fits_table, losses_table, multipliers_table
from attnres_eval.analysis.multiplier import FREE, IRREDUCIBLE, PER_PAIR, SHARED
from attnres_eval.analysis.paired import paired_table
from attnres_eval.analysis.questions import GOLD_BITS, GOLD_PROBABILITY, answers
from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.errors import UserError
from attnres_eval.records import QuestionRecord

Fabricated = Callable[..., Path]
GAIN = {"block_attnres": 1.25}


def test_a_missing_run_is_a_hole(fabricated: Fabricated) -> None:
    results = collect(fabricated(missing=["block_attnres-d48-s1"]))
    losses = losses_table(results).set_index("run")
    assert len(losses) == 27
    hole = losses.loc["block_attnres-d48-s1"]
    assert hole[["nats_per_token", "bits_per_byte", "seconds", "peak_memory_mib"]].isna().all()
    assert hole["tokens"] > 0
    assert losses["nats_per_token"].isna().sum() == 1
    cells = cells_table(results).set_index(["variant", "size"])
    assert cells.loc[("block_attnres", "d48"), "n_seeds"] == 2
    assert cells.loc[("prenorm", "d48"), "n_seeds"] == 3


def test_runs_hold_what_the_records_say(fabricated: Fabricated) -> None:
    folder = fabricated()
    run = collect(folder).runs.set_index("run").loc["full_attnres-d64-s2"]
    summary = json.loads((folder / "runs/full_attnres-d64-s2/summary.json").read_text())
    cost = json.loads((folder / "runs/full_attnres-d64-s2/cost.json").read_text())
    assert run["loss"] == summary["validation_nats_per_token"]
    assert run["flops"] == summary["flops"]
    assert run["pflops_days"] == summary["flops"] / PFLOPS_DAY
    assert run["flops_6nd"] == 6 * cost["matrix_parameters"] * summary["tokens"]
    assert run["parameters"] == cost["parameters"]


def test_cells_pair_by_seed(fabricated: Fabricated) -> None:
    results = collect(fabricated(multipliers=GAIN))
    cell = cells_table(results).set_index(["variant", "size"]).loc[("block_attnres", "d32")]
    runs = results.runs.pivot_table(index=["size", "seed"], columns="label", values="loss")
    ours, theirs = runs.loc["d32", "block_attnres"], runs.loc["d32", "prenorm"]
    test = stats.ttest_rel(ours, theirs)
    interval = test.confidence_interval(0.95)
    assert cell["difference"] == pytest.approx((ours - theirs).mean())
    assert (cell["ci_low"], cell["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert cell["relative_speed"] < 0.8
    base = cells_table(results).set_index(["variant", "size"]).loc[("prenorm", "d32")]
    assert base["relative_speed"] == 1
    assert math.isnan(base["difference"])


def test_multipliers_recover_the_truth(fabricated: Fabricated) -> None:
    table = multipliers_table(collect(fabricated(multipliers=GAIN, noise=2e-4)))
    assert list(dict.fromkeys(table["model"])) == [SHARED, PER_PAIR, FREE]
    rows = table.set_index(["variant", "model"])
    for variant, truth in {"block_attnres": 1.25, "full_attnres": 1.0}.items():
        row = rows.loc[(variant, SHARED)]
        assert row["multiplier"] == pytest.approx(truth, rel=0.02)
        assert row["ci_low"] < truth < row["ci_high"]
        assert row["coverage"] == pytest.approx(0.95, abs=0.02)
        assert row["target_compute_pflops_days"] == row["target_compute_flops"] / PFLOPS_DAY
        assert (row["n_seeds"], row["n_sizes"]) == (3, 3)


def test_one_seed_has_neither_interval_nor_coverage(fabricated: Fabricated) -> None:
    table = multipliers_table(collect(fabricated(study=make_study(seeds=[4]))))
    assert table["multiplier"].notna().all()
    assert table[["ci_low", "ci_high", "coverage", "coverage_error"]].isna().all(axis=None)
    assert table["note"].str.contains("one seed: no interval").all()


def test_fits_say_what_the_data_do_not_bear(fabricated: Fabricated) -> None:
    fits = fits_table(collect(fabricated(alpha=0.06)))
    shared = fits[fits["model"] == SHARED]
    assert shared["alpha"].to_numpy() == pytest.approx([0.06] * 3, rel=0.1)
    assert shared["alpha"].nunique() == 1
    plain = fits[fits["model"] == IRREDUCIBLE]
    assert len(plain) == 1
    assert plain["a"].isna().all()
    assert "3 sizes, fewer than 4" in plain["note"].iloc[0]


def test_fits_with_an_irreducible_loss(fabricated: Fabricated) -> None:
    folder = fabricated(
        study=make_study(n_sizes=6, tasks=()),
        a=3e4,
        alpha=0.35,
        e=2.0,
        noise=2e-4,
        seed_noise=2e-4,
    )
    fits = fits_table(collect(folder))
    rows = fits[fits["model"] == IRREDUCIBLE]
    assert len(rows) == 3
    assert rows["e"].to_numpy() == pytest.approx([2.0] * 3, rel=0.02)


def scored(results: Results) -> pd.DataFrame:
    return benchmarks_table(results, answers(results))


def accuracies(results: Results, label: str) -> pd.DataFrame:
    """Questions by seeds, of size d64, straight from the records."""
    return pd.DataFrame(
        {
            seed: [
                float(np.argmax(question.log_likelihoods) == question.gold)
                for question in results.tasks[f"{label}-d64-s{seed}"][0].questions
                if isinstance(question, QuestionRecord)
            ]
            for seed in range(3)
        }
    )


def test_benchmarks_average_over_seeds(fabricated: Fabricated) -> None:
    results = collect(fabricated(skill={"block_attnres": 0.7, "prenorm": 0.4}))
    table = scored(results).set_index(["variant", "metric"])
    row, values = table.loc[("block_attnres", "acc")], accuracies(results, "block_attnres")
    assert row["score"] == pytest.approx(values.to_numpy().mean())
    expected = stats.ttest_1samp(values.mean(axis=1), 0.25).confidence_interval(0.95)
    assert row["ci_low"] == pytest.approx(expected.low)
    assert row["ci_high"] == pytest.approx(expected.high)
    assert row["differs_from_chance"]
    assert row["chance"] == 0.25
    assert row["seed_sd"] == pytest.approx(values.mean().std(ddof=1))
    assert (row["n_questions"], row["n_clusters"]) == (60, 60)
    assert table.loc[("block_attnres", GOLD_BITS), "differs_from_chance"]
    assert not table.loc[("full_attnres", GOLD_PROBABILITY), "differs_from_chance"]


def test_the_interval_is_clustered_by_question(fabricated: Fabricated) -> None:
    """Against the pairwise definition: sum over all pairs of answers to the same question."""
    results = collect(fabricated())
    row = scored(results).set_index(["variant", "metric"]).loc[("prenorm", "acc")]
    matrix = accuracies(results, "prenorm").to_numpy()
    deviation = matrix - matrix.mean()
    n_questions, total = len(matrix), matrix.size
    pairwise = sum(
        deviation[q, i] * deviation[q, j]
        for q in range(n_questions)
        for i in range(3)
        for j in range(3)
    )
    error = math.sqrt(pairwise) / total * math.sqrt(n_questions / (n_questions - 1))
    reach = stats.t.ppf(0.975, n_questions - 1) * error
    assert row["ci_high"] - row["score"] == pytest.approx(reach)
    assert row["score"] - row["ci_low"] == pytest.approx(reach)


def test_a_group_stands_for_its_tasks(fabricated: Fabricated) -> None:
    folder = fabricated(study=make_study(tasks=("mmlu",)), groups={"mmlu": ["mmlu_a", "mmlu_bb"]})
    table = scored(collect(folder))
    assert set(table["task"]) == {"mmlu"}
    assert set(table["n_questions"]) == {120}
    assert set(table["n_clusters"]) == {2}


def test_generation_has_no_chance(fabricated: Fabricated) -> None:
    folder = fabricated(study=make_study(tasks=("gsm8k",)), generation=["gsm8k"])
    table = scored(collect(folder))
    assert set(table["metric"]) == {"exact_match"}
    assert table["chance"].isna().all()
    assert table["differs_from_chance"].isna().all()


def test_without_the_baseline_nothing_is_compared(fabricated: Fabricated) -> None:
    missing = [f"prenorm-d{d}-s{seed}" for d in (32, 48, 64) for seed in range(3)]
    results = collect(fabricated(missing=missing))
    table = multipliers_table(results)
    assert table["multiplier"].isna().all()
    assert table["note"].str.contains("no pair").all()
    assert paired_table(results, answers(results)).empty
    assert cells_table(results)["difference"].isna().all()


def test_bad_folders(fabricated: Fabricated, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results folder"):
        collect(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no study\.json"):
        collect(tmp_path)
    study = make_study(seeds=[0])
    folder = fabricated(study=study, missing=[run.run for run in study.runs()])
    with pytest.raises(UserError, match="no finished run"):
        collect(folder)


def test_runs_of_other_data_are_refused(fabricated: Fabricated) -> None:
    folder = fabricated()
    path = folder / "runs/prenorm-d32-s0/summary.json"
    rewrite(path, data_sha256="0" * 64)
    with pytest.raises(UserError, match="2 different sets of token files"):
        collect(folder)


def test_runs_of_another_study_are_refused(fabricated: Fabricated) -> None:
    folder = fabricated()
    path = folder / "runs/prenorm-d32-s0/config.json"
    rewrite(path, steps=json.loads(path.read_text())["steps"] + 1)
    with pytest.raises(UserError, match=r"config\.json is not a run of this folder"):
        collect(folder)


def test_a_cost_that_is_none_is_refused(fabricated: Fabricated) -> None:
    folder = fabricated()
    (folder / "runs/prenorm-d32-s0/cost.json").write_text('{"parameters": 1}')
    with pytest.raises(UserError, match=r"cost\.json is no Cost"):
        collect(folder)
