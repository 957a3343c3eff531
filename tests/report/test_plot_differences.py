"""The figure of differences, by its numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from attnres_eval.report.figures import draw_figures
from attnres_eval.report.plot_differences import draw_differences
from attnres_eval.report.style import DARK, LIGHT, styles
from attnres_eval.report.words_differences import at_largest_size

LABELS = ["prenorm", "full_attnres", "block_attnres", "mhc", "wild"]


def rows(**changes: Any) -> pd.DataFrame:
    values: dict[str, Any] = {
        "variant": ["mhc", "full_attnres", "block_attnres", "wild"],
        "family": ["several streams", "weights", "weights", "weights"],
        "difference": [0.01, 0.02, -0.03, 2.5],
        "ci_low": [0.0, 0.01, -0.04, 2.49],
        "ci_high": [0.02, 0.03, -0.02, 2.51],
        "ci_low_all": [-0.01, 0.0, -0.05, 2.48],
        "ci_high_all": [0.03, 0.04, -0.01, 2.52],
        "relative_step_time": [2.0, 1.2, 1.1, 1.0],
        "relative_peak_memory": [1.5, 1.1, 1.1, 1.0],
    }
    return pd.DataFrame({**values, **changes})


def drawn(axes: Axes, gid: str) -> Any:
    found = [artist for artist in axes.get_children() if artist.get_gid() == gid]
    assert len(found) == 1, gid
    return found[0]


def test_dots_and_bars_are_the_numbers() -> None:
    left, right = draw_differences(rows(), LABELS, "prenorm", LIGHT).axes
    looks = styles(LABELS, LIGHT)
    for _, row in rows()[:3].iterrows():
        name = row["variant"]
        dot = drawn(left, f"difference-{name}")
        assert list(dot.get_xdata()) == [row["difference"]]
        assert dot.get_color() == looks[name].colour
        for suffix in ("", "_all"):
            bar = drawn(left, f"interval{suffix}-{name}")
            assert list(bar.get_xdata()) == [row[f"ci_low{suffix}"], row[f"ci_high{suffix}"]]
        single, at_once = (drawn(left, f"interval{s}-{name}") for s in ("", "_all"))
        assert single.get_linewidth() > at_once.get_linewidth()
        for column in ("relative_step_time", "relative_peak_memory"):
            cost = drawn(right, f"{column}-{name}")
            assert list(cost.get_xdata()) == [row[column]]
            assert list(cost.get_ydata()) == list(dot.get_ydata())
    assert "nats per token" in left.get_xlabel()


def test_rows_stand_by_family_and_then_by_difference() -> None:
    left, _ = draw_differences(rows(), LABELS, "prenorm", LIGHT).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["", "mHC", "", "Block AttnRes", "Full AttnRes", "wild"]
    headings = {text.get_text(): text.get_position()[1] for text in left.texts[:2]}
    assert headings == {"Several streams": 0, "Weights": 2}
    one = draw_differences(rows(family="weights"), LABELS, "prenorm", LIGHT).axes[0]
    assert len(one.get_yticklabels()) == 4


def test_a_variant_far_away_does_not_squeeze_the_others() -> None:
    more = [rows(variant=[f"{name}{i}" for name in "abcd"])[:3] for i in range(2)]
    table = pd.concat([rows(), *more], ignore_index=True)
    left, right = draw_differences(table, list(table["variant"]), "prenorm", LIGHT).axes
    low, high = left.get_xlim()
    assert low < -0.05
    assert 0.04 < high < 0.1
    assert list(drawn(left, "far-wild").get_xdata()) == [high]
    assert any(text.get_text() == "+2.50" for text in left.texts)
    assert list(drawn(right, "relative_step_time-wild").get_xdata()) == [1.0]


def test_without_intervals_dots_are_open() -> None:
    ends = dict.fromkeys(["ci_low", "ci_high", "ci_low_all", "ci_high_all"], np.nan)
    left, _ = draw_differences(rows(**ends), LABELS, "prenorm", DARK).axes
    dot = drawn(left, "difference-block_attnres")
    assert to_hex(dot.get_markerfacecolor()) == DARK.page
    assert not [a for a in left.get_children() if "interval" in (a.get_gid() or "")]


def test_the_largest_size_is_drawn(analysed: Callable[..., Any], tmp_path: Any) -> None:
    made = analysed(missing=[f"{label}-d64-s{seed}" for label in LABELS[1:3] for seed in range(3)])
    shown = at_largest_size(made.results, made.tables["differences"])
    assert set(shown["size"]) == {"d48"}
    names = {figure.name: figure for figure in draw_figures(made.results, made.tables, tmp_path)}
    assert names["differences"].caption.startswith("Size d48")
    assert (tmp_path / "differences-dark.svg").is_file()


@pytest.mark.parametrize("shape", [{"labels": ["prenorm"]}, {"labels": ["prenorm", "mine"]}])
def test_a_baseline_alone_has_no_such_figure(
    shape: dict[str, Any], analysed: Callable[..., Any], tmp_path: Any
) -> None:
    made = analysed(shape)
    names = [figure.name for figure in draw_figures(made.results, made.tables, tmp_path)]
    assert ("differences" in names) is (len(shape["labels"]) > 1)
