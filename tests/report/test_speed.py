"""Training speed: as the runs went, or calibrated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fabricate import make_study
from matplotlib.figure import Figure
from sweeps import shapes_study

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.pooled import differences_table
from attnres_eval.report import figures as report_figures
from attnres_eval.report.build import study_figures, study_tables
from attnres_eval.report.plot_compare import draw_speed
from attnres_eval.report.speed import speed_findings, speed_rows, speed_sentences
from attnres_eval.report.study_page import study_page
from attnres_eval.report.style import Theme


def test_speed_is_the_measured_ratio(analysed: Callable[..., Any]) -> None:
    made = analysed()
    cells, times = made.tables["cells"], made.tables["step_times"]
    assert times.empty
    text = " ".join(speed_sentences(made.results, cells, times))
    row = cells[(cells["variant"] == "block_attnres") & (cells["size"] == "d64")].iloc[0]
    assert f"Block AttnRes trained at {row['relative_speed']:.2f} of PreNorm's" in text
    assert "not equal time" in text
    rows = speed_rows(made.results, cells, times).set_index(["variant", "size"])
    assert rows.loc[("block_attnres", "d64"), "relative_speed"] == row["relative_speed"]
    assert rows[["ci_low", "ci_high"]].isna().all(axis=None)


def test_calibrated_speeds_take_the_place_of_the_runs(analysed: Callable[..., Any]) -> None:
    made = analysed(step_times={"block_attnres": 1.25})
    cells, times = made.tables["cells"], made.tables["step_times"]
    rows = speed_rows(made.results, cells, times).set_index(["variant", "size"])
    own = times.set_index(["variant", "size"])
    runs = made.results.runs.groupby(["label", "size"])["parameters"].first()
    for size in made.results.study.sizes:
        row, time = rows.loc[("block_attnres", size)], own.loc[("block_attnres", size)]
        assert row["relative_speed"] == pytest.approx(0.8)
        assert (row["ci_low"], row["ci_high"]) == (1 / time["ci_high"], 1 / time["ci_low"])
        assert row["parameters"] == runs[("block_attnres", size)]
    assert "Block AttnRes 1.25" in " ".join(speed_findings(made.results, cells, times))
    table = differences_table(made.results).set_index(["variant", "size"])
    assert table.loc["block_attnres", "relative_step_time"].to_numpy() == pytest.approx(1.25)


@pytest.mark.parametrize("over", ["parameters", "n_layers"])
def test_speed_is_over_what_sizes_differ_in(
    fabricated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, over: str
) -> None:
    study = shapes_study() if over == "n_layers" else make_study()
    results = collect(fabricated(study=study))
    taken: list[tuple[str, set[int]]] = []

    def draw(speeds: pd.DataFrame, labels: list[str], theme: Theme, column: str) -> Figure:
        taken.append((column, set(speeds[column])))
        return draw_speed(speeds, labels, theme, column)

    monkeypatch.setattr(report_figures, "draw_speed", draw)
    study_figures(results, study_tables(results), tmp_path)
    assert taken
    for column, values in taken:
        assert column == over
        assert values == set(results.runs[over])


def test_a_label_at_another_rate_has_no_line(analysed: Callable[..., Any]) -> None:
    made = analysed(step_times={"block_attnres": 1.25})
    renamed = {"full_attnres": "block_attnres_own"}
    results = replace(made.results, runs=made.results.runs.replace({"label": renamed}))
    cells, times = (
        made.tables[name].replace({"variant": renamed}) for name in ("cells", "step_times")
    )
    for found in (cells, times):
        assert "block_attnres_own" in set(found["variant"])
    for taken in (times, times[:0]):
        rows = speed_rows(results, cells, taken)
        assert list(dict.fromkeys(rows["variant"])) == ["prenorm", "block_attnres"]
    # By itself it is all that is known of its variant.
    alone = times[times["variant"] != "block_attnres"]
    assert set(speed_rows(results, cells, alone)["variant"]) == {"prenorm", "block_attnres_own"}


def test_the_figure_stands_with_what_it_shows(analysed: Callable[..., Any]) -> None:
    for step_times, section, title in (
        (None, "Speed", "Clock readings"),
        ({"block_attnres": 1.25}, "At equal time", "calibrated side by side"),
    ):
        made = analysed(step_times=step_times)
        figures = study_figures(made.results, made.tables, made.folder / "figures")
        page = study_page(made.results, made.tables, figures)
        held = {
            one.heading: figure.caption
            for one in page.sections
            for figure in one.figures
            if figure.name == "speed"
        }
        assert list(held) == [section]
        assert title in held[section]
