"""Figures and sentences of paired comparison, task scaling and reasoning steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricate import make_study
from matplotlib.axes import Axes

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.paired import ALL_TASKS
from attnres_eval.analysis.questions import GOLD_BITS
from attnres_eval.report.build import build_report, study_tables
from attnres_eval.report.figures import draw_figures
from attnres_eval.report.plot_steps import draw_steps
from attnres_eval.report.plot_tasks import draw_paired, draw_task_scaling
from attnres_eval.report.study_page import study_page
from attnres_eval.report.style import DARK, LIGHT
from attnres_eval.report.views import MOST_ROWS
from attnres_eval.report.words_paired import (
    paired_sentences,
    published_gain_sentence,
    steps_sentences,
    task_scaling_sentences,
)

LABELS = ["prenorm", "full_attnres", "block_attnres"]
STEPS = ("reasoning_s5_k4", "reasoning_s5_k8", "reasoning_gym_chain_sum_k3")


def named(axes: Axes, gid: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def test_steps_are_drawn_by_family(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": STEPS}, skill={"block_attnres": 0.8})
    table = made.tables["steps"]
    panels = draw_steps(table, LABELS, LIGHT).axes
    assert [axes.get_title() for axes in panels] == ["gym_chain_sum", "s5"]
    (line,) = named(panels[1], "steps-block_attnres")
    rows = table[(table["variant"] == "block_attnres") & (table["family"] == "s5")]
    assert list(line.get_ydata()) == list(rows["score"])
    assert [text.get_text() for text in panels[1].get_xticklabels()] == ["4", "8"]
    # Three variants side by side at the same k.
    starts = [named(panels[1], f"steps-{label}")[0].get_xdata()[0] for label in LABELS]
    assert len(set(starts)) == 3


def test_steps_in_words(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": STEPS}, skill={"block_attnres": 0.8, "prenorm": 0.01})
    text = " ".join(steps_sentences(made.tables["steps"]))
    assert "s5: the largest k (of 4 to 8) that beats chance is" in text
    assert "Block AttnRes 8" in text
    assert "none for PreNorm" in text
    nothing = analysed({"tasks": STEPS}, skill=dict.fromkeys(LABELS, 0.02))
    text = " ".join(steps_sentences(nothing.tables["steps"]))
    assert "s5: nothing beats chance at any of k 4 to 8." in text


def test_paired_differences_are_drawn_for_every_task(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": ("arc_easy", "sciq")}, skill={"block_attnres": 0.7})
    table = made.tables["paired"]
    axes = draw_paired(table, LABELS, "prenorm", {"acc": "Accuracy"}, DARK).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["arc_easy", "sciq", ALL_TASKS]
    rows = table[(table["variant"] == "block_attnres") & (table["metric"] == "acc")]
    dots = named(axes, "paired-block_attnres")
    assert [dot.get_xdata()[0] for dot in dots] == list(rows["difference"])
    assert not named(axes, "paired-prenorm")


def test_a_difference_without_seeds_is_open(analysed: Callable[..., Any]) -> None:
    made = analysed({"seeds": [0]})
    axes = draw_paired(made.tables["paired"], LABELS, "prenorm", {"acc": "Accuracy"}, LIGHT).axes[0]
    (dot,) = named(axes, "paired-block_attnres")
    assert dot.get_markerfacecolor() == LIGHT.page
    text = " ".join(paired_sentences(made.results, made.tables["paired"], made.tables["mcnemar"]))
    assert "nothing is known of other seeds" in text


def test_paired_in_words(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": ("arc_easy", "sciq")}, skill={"block_attnres": 0.9})
    table, tests = made.tables["paired"], made.tables["mcnemar"]
    text = " ".join(paired_sentences(made.results, table, tests))
    row = table[
        (table["task"] == ALL_TASKS)
        & (table["variant"] == "block_attnres")
        & (table["metric"] == "acc")
    ].iloc[0]
    assert (
        f"Block AttnRes on the mean over tasks, accuracy, size d64: {row['difference']:+.4f}"
        in text
    )
    side = "contains" if row["ci_low"] <= 0 <= row["ci_high"] else "excludes"
    assert f"which {side} 0; a true difference of {row['detectable']:.4f} would be seen" in text
    single = table[(table["task"] != ALL_TASKS) & table["p_holm"].notna()]
    left = int((single["p_holm"] <= 0.05).sum())
    assert f"after Holm's correction over tasks {left} " in text
    differing = int((tests["p_holm"] <= 0.05).sum())
    assert f"{differing} of {len(tests)} pairs (task, variant, seed)" in text


def test_the_published_gain_is_put_in_proportion() -> None:
    text = published_gain_sentence()
    assert "+7.5 points on GPQA-Diamond, one run each on 198 questions" in text
    assert "would be 13.9 points" in text
    assert "at most 26% of the questions differently" in text


@pytest.fixture
def laddered(fabricated: Callable[..., Path]) -> Path:
    study = make_study(tasks=("arc_easy", "sciq"))
    evaluation = study.evaluation.model_copy(update={"sizes": "all"})
    return fabricated(study=study.model_copy(update={"evaluation": evaluation}))


def test_task_scaling_is_drawn_over_compute(laddered: Path) -> None:
    table = study_tables(collect(laddered))["task_scaling"]
    gold = table[table["metric"] == GOLD_BITS]
    panels = draw_task_scaling(gold, LABELS, LIGHT).axes
    assert [axes.get_title() for axes in panels[:3]] == [ALL_TASKS, "arc_easy", "sciq"]
    (line,) = named(panels[1], "tasks-prenorm")
    rows = gold[(gold["task"] == "arc_easy") & (gold["variant"] == "prenorm")]
    assert list(line.get_xdata()) == list(rows["flops"])
    assert list(line.get_ydata()) == list(rows["score"])


def test_a_ladder_of_benchmarks_has_its_section(laddered: Path) -> None:
    page = build_report(laddered).with_suffix(".md").read_text(encoding="utf-8")
    for heading in ("Paired comparison on benchmarks", "Benchmarks over compute"):
        assert f"## {heading}" in page
    assert "Accuracy over reasoning steps" not in page


def test_task_multipliers_in_words(laddered: Path) -> None:
    table = study_tables(collect(laddered))["task_multipliers"]
    table["multiplier"], table["ci_low"], table["ci_high"] = 1.2, 1.1, 1.3
    text = " ".join(task_scaling_sentences(table))
    assert "Block AttnRes has the compute multiplier 1.200 (95% interval 1.100 to 1.300)" in text
    assert "2 of 2 tasks bear a multiplier of their own; 4 of 4 intervals exclude 1" in text
    table["multiplier"] = float("nan")
    table["note"] = "one size"
    assert task_scaling_sentences(table) == ["No task bears a compute multiplier (one size)."]


def test_tasks_of_so_many_steps_are_drawn_once(
    analysed: Callable[..., Any], tmp_path: Path
) -> None:
    made = analysed({"tasks": ("arc_easy", *STEPS)})
    named = {figure.name: figure for figure in draw_figures(made.results, made.tables, tmp_path)}
    assert named["benchmarks"].alt.startswith("Scores of one benchmark at")
    assert "s5:" in named["steps"].alt


@pytest.mark.parametrize(("n_tasks", "folded"), [(1, False), (9, True)])
def test_long_tables_are_folded(n_tasks: int, folded: bool, analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": [f"reasoning_s5_k{k + 1}" for k in range(n_tasks)] + ["arc_easy"]})
    tables = made.tables
    assert (len(tables["paired"]) > MOST_ROWS) is folded
    sections = {one.heading: one for one in study_page(made.results, tables, []).sections}
    for title in ("Benchmarks", "Paired comparison on benchmarks"):
        frame = tables["benchmarks" if title == "Benchmarks" else "paired"]
        assert sections[title].tables[0].folded is (len(frame) > MOST_ROWS)
