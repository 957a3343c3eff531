"""Whether reasoning gains most: held to means taken one by one, and to a simulated truth."""

from pathlib import Path

import numpy as np
import pytest
from fabricate import fabricate, make_study

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.gains import COLUMNS, gains_table
from attnres_eval.analysis.paired import paired_table
from attnres_eval.analysis.questions import answers
from attnres_eval.report.words_paired import gains_sentences

STEPS = ("reasoning_depo_k1", "reasoning_depo_k3")
OTHER = ("arc_easy", "openbookqa", "hellaswag")


def test_the_difference_is_that_of_two_mean_gains(tmp_path: Path) -> None:
    results = collect(fabricate(tmp_path / "made", study=make_study(tasks=(*STEPS, *OTHER))))
    answered = answers(results)
    table = gains_table(results, answered)
    assert list(table.columns) == COLUMNS
    paired = paired_table(results, answered)
    paired = paired[paired["metric"] == "acc"]
    for _, row in table.iterrows():
        same = (paired["size"] == row["size"]) & (paired["variant"] == row["variant"])
        own = paired[same].set_index("task")["difference"]
        assert row["reasoning_gain"] == pytest.approx(np.mean([own[task] for task in STEPS]))
        assert row["other_gain"] == pytest.approx(np.mean([own[task] for task in OTHER]))
        assert row["difference"] == pytest.approx(row["reasoning_gain"] - row["other_gain"])
        assert row["ci_low"] < row["difference"] < row["ci_high"]
        assert (row["n_reasoning"], row["n_other"]) == (2, 3)
    assert set(table["variant"]) == {"full_attnres", "block_attnres"}


def test_tasks_of_one_kind_bear_no_comparison(tmp_path: Path) -> None:
    for number, tasks in enumerate((STEPS, OTHER)):
        results = collect(fabricate(tmp_path / str(number), study=make_study(tasks=tasks)))
        assert gains_table(results, answers(results)).empty


def test_gains_that_cancel_are_zero(tmp_path: Path) -> None:
    """Tenths have no exact float: their sum leaves an error that is no gain."""
    results = collect(fabricate(tmp_path / "made", study=make_study(tasks=(*STEPS, *OTHER))))
    answered = answers(results)
    place = answered.groupby(["variant", "size", "task", "metric", "seed"]).cumcount()
    value = place.map(dict(enumerate((0.1, 0.2, -0.3, 0.3, -0.1, -0.2)))).fillna(0.0)
    answered["value"] = value.where(answered["variant"] != "prenorm", 0.0)
    table = gains_table(results, answered)
    assert len(table)
    assert (table[["reasoning_gain", "other_gain", "difference"]] == 0).all(axis=None)
    assert (table["p"] == 1).all()


def test_an_interval_is_as_wide_as_gains_vary(tmp_path: Path) -> None:
    """No variant gains anywhere: of many such studies about 95% must hold 0."""
    held, judged = 0, 0
    for number in range(30):
        study = make_study(tasks=(*STEPS, *OTHER))
        results = collect(fabricate(tmp_path / str(number), study=study, random_seed=number))
        rows = gains_table(results, answers(results))
        judged += len(rows)
        held += int(((rows["ci_low"] <= 0) & (rows["ci_high"] >= 0)).sum())
    assert 0.85 <= held / judged <= 1


def test_sentences_follow_the_interval(tmp_path: Path) -> None:
    results = collect(fabricate(tmp_path / "made", study=make_study(tasks=(*STEPS, *OTHER))))
    table = gains_table(results, answers(results))[:1]
    said = {
        ends: gains_sentences(table.assign(ci_low=ends[0], ci_high=ends[1]))[0]
        for ends in ((0.01, 0.2), (-0.2, 0.1), (np.nan, np.nan))
    }
    assert "so reasoning over steps improves most." in said[0.01, 0.2]
    assert "95% interval +1.0 to +20.0" in said[0.01, 0.2]
    assert "is not seen to improve most." in said[-0.2, 0.1]
    assert "without an interval" in said[np.nan, np.nan]
