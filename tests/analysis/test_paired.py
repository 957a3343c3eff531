"""Paired comparison on fabricated benchmarks of known truth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study
from scipy import stats

from attnres_eval.analysis.benchmarks import benchmarks_table
from attnres_eval.analysis.collect import Results, collect
from attnres_eval.analysis.mcnemar import holm
from attnres_eval.analysis.paired import ALL_TASKS, mcnemar_table, paired_table
from attnres_eval.analysis.questions import FINE, GOLD_BITS, answers
from attnres_eval.analysis.steps import steps_table
from attnres_eval.analysis.task_scaling import (
    run_scores,
    task_multipliers_table,
    task_scaling_table,
)
from attnres_eval.records import QuestionRecord

Fabricated = Callable[..., Path]
TASKS = ("arc_easy", "reasoning_depo_k1", "reasoning_depo_k3")


def right(results: Results, label: str, task: str) -> np.ndarray:
    """[questions, seeds] of right answers at size d64, straight from the records."""
    columns = []
    for seed in results.study.seeds:
        records = results.tasks[f"{label}-d64-s{seed}"]
        (record,) = (r for r in records if r.task == task)
        questions = [q for q in record.questions if isinstance(q, QuestionRecord)]
        columns.append([np.argmax(q.log_likelihoods) == q.gold for q in questions])
    return np.array(columns, dtype=float).T


@pytest.fixture
def results(fabricated: Fabricated) -> Results:
    study = make_study(tasks=TASKS)
    return collect(fabricated(study=study, skill={"block_attnres": 0.6, "prenorm": 0.4}))


def test_differences_are_paired_by_question_and_seed(results: Results) -> None:
    table = paired_table(results, answers(results)).set_index(["task", "variant", "metric"])
    row = table.loc[("arc_easy", "block_attnres", "acc")]
    ours, theirs = (right(results, x, "arc_easy") for x in ("block_attnres", "prenorm"))
    expected = stats.ttest_rel(ours.mean(axis=1), theirs.mean(axis=1)).confidence_interval(0.95)
    assert row["difference"] == pytest.approx((ours - theirs).mean())
    assert row["questions_ci_low"] == pytest.approx(expected.low)
    assert row["questions_ci_high"] == pytest.approx(expected.high)
    assert row["ci_low"] <= row["questions_ci_low"] < row["questions_ci_high"] <= row["ci_high"]
    assert row["n_seeds"] == 3
    assert "prenorm" not in table.index.get_level_values("variant")


def test_pooled_is_the_mean_over_tasks(results: Results) -> None:
    table = paired_table(results, answers(results)).set_index(["variant", "metric"])
    table = table.loc[("block_attnres", GOLD_BITS)].set_index("task")["difference"]
    assert table[ALL_TASKS] == pytest.approx(table.drop(ALL_TASKS).mean())


def test_no_mean_is_taken_over_scores_of_another_kind(results: Results) -> None:
    rows = answers(results)
    normed = rows[rows["metric"] == "acc"].assign(metric="acc_norm")
    table = paired_table(results, pd.concat([rows[rows["metric"] != "acc_norm"], normed]))
    assert "acc_norm" in set(table["metric"])
    pooled = table[table["task"] == ALL_TASKS]
    # Over tasks without normed accuracy it would be one task's.
    assert set(pooled["metric"]) == {"acc", *FINE}


def test_differences_of_shares_end_where_shares_do(fabricated: Fabricated) -> None:
    """Two seeds that disagree bear an interval wider than any difference of accuracies."""
    two = collect(fabricated(study=make_study(seeds=[0, 1])))
    rows = answers(two).query("metric in ['acc', 'margin']").copy()
    ours = rows["variant"] == "block_attnres"
    odd = rows["question"].map(lambda key: int(key[-1], 16) % 2)
    rows["value"] = np.where(ours, np.where(rows["seed"] == 0, 0.9 + 0.1 * odd, 0.1 * odd), 0.0)
    table = paired_table(two, rows).set_index(["variant", "metric"])
    accuracy, margin = (table.loc[("block_attnres", metric)] for metric in ("acc", "margin"))
    assert (accuracy["ci_low"], accuracy["ci_high"]) == (-1, 1)
    assert margin["ci_low"] < -1
    assert margin["ci_high"] > 1


def test_holm_is_over_the_tasks_of_a_variant_and_metric(results: Results) -> None:
    table = paired_table(results, answers(results))
    pooled = table["task"] == ALL_TASKS
    assert table.loc[pooled, "p_holm"].isna().all()
    for _, part in table[~pooled].groupby(["variant", "metric"]):
        assert len(part) == len(TASKS)
        assert part["p_holm"].tolist() == pytest.approx(holm(part["p"].tolist()))


def test_mcnemar_counts_the_questions_on_which_two_runs_differ(results: Results) -> None:
    table = mcnemar_table(results, answers(results))
    rows = table[(table["task"] == "arc_easy") & (table["variant"] == "block_attnres")]
    assert list(rows["seed"]) == [0, 1, 2]
    ours, theirs = (right(results, x, "arc_easy") for x in ("block_attnres", "prenorm"))
    for row in rows.itertuples():
        d = ours[:, row.seed] - theirs[:, row.seed]
        assert (row.only_variant, row.only_baseline) == ((d > 0).sum(), (d < 0).sum())


def test_one_seed_has_no_interval_for_new_seeds(fabricated: Fabricated) -> None:
    one = collect(fabricated(study=make_study(seeds=[0])))
    table = paired_table(one, answers(one))
    assert table[["ci_low", "p", "p_holm", "detectable"]].isna().all(axis=None)
    assert table["questions_ci_low"].notna().any()


def test_a_missing_seed_is_left_out(fabricated: Fabricated) -> None:
    gap = collect(fabricated(missing=["block_attnres-d64-s1"]))
    table = paired_table(gap, answers(gap))
    assert dict(table.groupby("variant")["n_seeds"].max()) == {
        "block_attnres": 2,
        "full_attnres": 3,
    }


def test_subjects_are_clusters(fabricated: Fabricated) -> None:
    folder = fabricated(study=make_study(tasks=("mmlu",)), groups={"mmlu": ["mmlu_a", "mmlu_bb"]})
    pooled = collect(folder)
    assert set(paired_table(pooled, answers(pooled))["n_clusters"]) == {2}


def test_steps_are_read_off_the_names(results: Results) -> None:
    answered = answers(results)
    table = steps_table(benchmarks_table(results, answered), paired_table(results, answered))
    assert set(table["family"]) == {"depo"}
    assert list(dict.fromkeys(table["steps"])) == [1, 3]
    assert table.set_index(["variant", "steps"])["beats_chance"].to_dict()["block_attnres", 1]
    assert table[table["variant"] == "prenorm"]["difference"].isna().all()
    assert table[table["variant"] != "prenorm"]["difference"].notna().all()


def test_a_group_of_steps_is_not_pooled(fabricated: Fabricated) -> None:
    groups = {"reasoning_depo": ["reasoning_depo_k1", "reasoning_depo_k2"]}
    folder = fabricated(study=make_study(tasks=tuple(groups)), groups=groups)
    tasks = {record.task for records in collect(folder).tasks.values() for record in records}
    assert tasks == set(groups["reasoning_depo"])


def everywhere(results: Results, multiplier: float) -> pd.DataFrame:
    """Scores of every run whose bits per byte are a power law of known multiplier."""
    runs = results.finished
    factor = np.where(runs["label"] == "block_attnres", multiplier, 1.0)
    noise = np.random.default_rng(0).normal(0, 1e-4, len(runs))
    return runs.assign(
        task="t",
        metric=GOLD_BITS,
        score=30 * (factor * runs["flops"]) ** -0.1 * np.exp(noise),
        chance=5.0,
    )[["task", "metric", "label", "size", "seed", "flops", "score", "chance"]]


def test_task_multiplier_is_the_compute_for_the_same_bits_per_byte(results: Results) -> None:
    table = task_multipliers_table(results, everywhere(results, 1.3)).set_index("variant")
    assert table.loc["block_attnres", "multiplier"] == pytest.approx(1.3, rel=0.02)
    assert table.loc["full_attnres", "multiplier"] == pytest.approx(1.0, rel=0.02)
    assert (table["n_sizes"] == 3).all()


def test_task_scaling_is_the_mean_over_seeds(results: Results) -> None:
    answered = answers(results)
    scores = run_scores(results, answered)
    table = task_scaling_table(results, scores).set_index(["task", "metric", "variant"])
    row = table.loc[("arc_easy", "acc", "prenorm")]
    per_seed = right(results, "prenorm", "arc_easy").mean(axis=0)
    expected = stats.ttest_1samp(per_seed, 0).confidence_interval(0.95)
    assert row["score"] == pytest.approx(per_seed.mean())
    assert row["ci_low"] == pytest.approx(expected.low)
    assert table.loc[(ALL_TASKS, "acc", "prenorm"), "score"] == pytest.approx(
        np.mean([right(results, "prenorm", task).mean() for task in TASKS])
    )


def test_one_size_bears_no_task_multiplier(results: Results) -> None:
    table = task_multipliers_table(results, run_scores(results, answers(results)))
    assert table["multiplier"].isna().all()
    assert table["note"].str.contains("one size").all()


def test_nothing_scored_gives_empty_tables(fabricated: Fabricated) -> None:
    bare = collect(fabricated(study=make_study(tasks=())))
    answered = answers(bare)
    scores = run_scores(bare, answered)
    benchmarks, paired = benchmarks_table(bare, answered), paired_table(bare, answered)
    for table in (
        benchmarks,
        paired,
        mcnemar_table(bare, answered),
        task_scaling_table(bare, scores),
        task_multipliers_table(bare, scores),
        steps_table(benchmarks, paired),
    ):
        assert table.empty
        assert len(table.columns)
