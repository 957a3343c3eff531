"""Training speed: as the runs went, or calibrated."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sweeps import shapes_study

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.pooled import differences_table
from attnres_eval.report import figures as report_figures
from attnres_eval.report.build import study_figures, study_tables
from attnres_eval.report.plot_compare import draw_speed
from attnres_eval.report.speed import speed_findings, speed_rows, speed_sentences
from attnres_eval.report.study_page import study_page
from attnres_eval.report.style import LIGHT, Theme

LABELS = ["prenorm", "full_attnres", "block_attnres"]


def line_of(axes: Axes, label: str) -> Line2D:
    """The one line of a label."""
    (line,) = [one for one in axes.lines if one.get_gid() == f"speed-{label}"]
    return line


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


def test_speed_has_a_line_a_variant() -> None:
    speeds = pd.DataFrame(
        {
            "variant": ["prenorm", "block_attnres", "block_attnres"],
            "parameters": [1000, 5000, 1000],
            "relative_speed": [1.0, 0.8, 0.7],
            "ci_low": [np.nan, 0.6, 0.65],
            "ci_high": [np.nan, 1.5, 0.75],
        }
    )
    figure = draw_speed(speeds, LABELS, LIGHT)
    axes = figure.axes[0]
    line = line_of(axes, "block_attnres")
    assert list(line.get_xdata()) == [1000, 5000]
    assert list(line.get_ydata()) == [0.7, 0.8]
    bars = {tuple(one.get_ydata()) for one in axes.lines if len(set(one.get_xdata())) == 1}
    assert bars >= {(0.6, 1.5), (0.65, 0.75)}
    assert axes.get_ylim()[1] > 1.5
    assert axes.get_xlabel() == "Parameters"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "PreNorm",
        "Block AttnRes",
    ]


def test_speed_over_depth_is_in_the_order_of_blocks() -> None:
    speeds = pd.DataFrame(
        {
            "variant": ["full_attnres"] * 3,
            "parameters": [260_000, 247_000, 249_000],
            "n_layers": [7, 8, 16],
            "relative_speed": [0.9, 0.8, 0.6],
            "ci_low": np.nan,
            "ci_high": np.nan,
        }
    )
    (axes,) = draw_speed(speeds, LABELS, LIGHT, "n_layers").axes
    line = line_of(axes, "full_attnres")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([7, 8, 16], [0.9, 0.8, 0.6])
    assert axes.get_xlabel() == "Blocks (log scale)"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["7", "8", "16"]


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
