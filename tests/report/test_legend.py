"""Legends of studies over rates, and of long names; ticks of narrow axes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from sweeps import rates_study

from attnres_eval.analysis.collect import collect
from attnres_eval.report import legend
from attnres_eval.report.build import study_tables
from attnres_eval.report.figures import draw_figures
from attnres_eval.report.legend import drawn_for_page, legend_looks, legend_names, shared_names
from attnres_eval.report.plot_scaling import (
    Scaling,
    compute_ticks,
    draw_scaling,
    legend_columns,
    power_label,
)
from attnres_eval.report.plot_training import draw_training
from attnres_eval.report.style import DARK, LIGHT, Theme, styles, themed

RATES = list(rates_study().variants)
BASES = ["prenorm", "full_attnres", "mhc"]
TITLES = ["PreNorm", "Full AttnRes", "mHC"]
MOST_RATES = 12


@pytest.fixture(autouse=True)
def _few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that the small sweep of these tests exceeds."""
    monkeypatch.setattr(legend, "MOST_RATES", MOST_RATES)


def test_a_ladder_at_a_common_and_an_own_rate_names_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    labels = [name for n in range(9) for name in (f"v{n}", f"v{n}_own")]
    assert list(legend_names(labels)) == labels
    assert shared_names(labels) == ""


def test_many_rates_have_one_name_and_look_a_variant() -> None:
    assert len(RATES) > MOST_RATES
    assert legend_names(RATES) == dict(zip(BASES, TITLES, strict=True))
    looks = legend_looks(RATES, RATES, LIGHT)
    assert set(looks) == set(RATES)
    assert looks["full_attnres_x2"] == looks["full_attnres"] == styles(RATES, LIGHT)["full_attnres"]
    assert len(set(looks.values())) == 3
    assert shared_names(RATES)


def test_few_rates_have_a_name_and_look_each() -> None:
    few = RATES[:MOST_RATES]
    assert list(legend_names(few)) == few
    assert legend_names(few)["prenorm_x2"] == "PreNorm at 2× the rate"
    assert legend_looks(few, RATES, DARK) == styles(RATES, DARK)
    assert shared_names(few) == ""


def test_many_variants_at_one_rate_are_all_named() -> None:
    labels = [f"v{n}" for n in range(3 * MOST_RATES)]
    assert list(legend_names(labels)) == labels
    assert legend_looks(labels, labels, LIGHT) == styles(labels, LIGHT)
    assert shared_names(labels) == ""


def test_a_name_is_borne_by_the_first_where_none_has_the_rate_of_all() -> None:
    labels = [f"v{n}_x{factor}" for n in range(7) for factor in ("0.5", "2")]
    assert legend_names(labels) == {f"v{n}_x0.5": f"v{n}" for n in range(7)}


def names_of(drawing: Drawing) -> list[str]:
    return [text.get_text() for text in drawing.legends[0].get_texts()]


def test_figures_over_rates_name_each_variant_once(analysed: Callable[..., Any]) -> None:
    points = pd.DataFrame(
        [
            {"label": label, "compute": 1e12 * (1 + n / 100), "loss": 3 + n / 100}
            for n, label in enumerate(RATES)
        ]
    )
    none = pd.DataFrame(columns=["variant", "target", "multiplier", "ci_low", "ci_high"])
    drawing = draw_scaling(Scaling(RATES, "prenorm", points, {}, none, None), LIGHT)
    assert names_of(drawing) == TITLES
    drawn = {line.get_gid() for line in drawing.axes[0].lines}
    assert {f"points-{label}" for label in RATES} <= drawn

    metrics = pd.DataFrame(
        [
            {"label": label, "seed": 0, "tokens": tokens, "loss": 5 - tokens / 100 + n / 10}
            for n, label in enumerate(RATES)
            for tokens in range(10, 100, 10)
        ]
    )
    drawing = draw_training(metrics, RATES, "prenorm", LIGHT)
    assert names_of(drawing) == TITLES
    colours = {
        line.get_color()
        for line in drawing.axes[0].lines
        if str(line.get_gid()).startswith("loss-mhc")
    }
    assert len(colours) == 1


def test_their_captions_say_so(fabricated: Callable[..., Path], tmp_path: Path) -> None:
    results = collect(fabricated(study=rates_study(), inspected=False))
    figures = draw_figures(results, study_tables(results), tmp_path)
    captions = {figure.name: figure.caption for figure in figures}
    for name in ("scaling", "training"):
        assert "at several rates look alike" in captions[name]


def with_legend(names: list[str]) -> Callable[[Theme], Drawing]:
    def draw(theme: Theme) -> Drawing:
        with themed(theme):
            figure = Drawing(figsize=(7, 9))
            axes = figure.subplots()
            for name in names:
                axes.plot([0, 1], [0, 1], label=name)
            figure.legend(loc="outside upper center", ncols=legend_columns(len(names)))
            return figure

    return draw


@pytest.mark.parametrize(
    ("name", "columns"),
    [("mHC", 3), ("A variant at 0.125× the rate", 2), ("A long variant at 0.125× the rate" * 2, 1)],
)
def test_a_legend_has_as_many_columns_as_fit(name: str, columns: int) -> None:
    figure = drawn_for_page(with_legend([name] * 6), LIGHT)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.legends[0].texts]
    assert len({round(box.x0) for box in boxes}) == columns
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width


def value(label: str) -> float:
    """The number that a tick's label stands for."""
    factor, _, exponent = label.strip("$").rpartition("10^{")
    if not exponent.endswith("}"):
        return float(label)
    return float((factor.removesuffix(r"\times") or "1") + "e" + exponent.removesuffix("}"))


@pytest.mark.parametrize("low", [1.13e-7, 9.74e12, 2.43e12, 9.99e14, 0.0095, 1.0, 870.0])
@pytest.mark.parametrize("ratio", [1.02, 1.13, 1.5, 2.3, 7.0, 90.0, 1e4, 1e7])
def test_ticks_differ_and_say_where_they_are(low: float, ratio: float) -> None:
    ticks = compute_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 9
    assert len(set(ticks.values())) == len(ticks)
    for place, label in ticks.items():
        assert low <= place <= low * ratio
        assert value(label) == pytest.approx(place, rel=1e-9)


def test_a_narrow_figure_has_them_on_both_axes() -> None:
    labels = ["prenorm", "full_attnres"]
    points = pd.DataFrame({"label": labels, "compute": [1.02e13, 1.08e13], "loss": [1.6, 1.7]})
    none = pd.DataFrame(columns=["variant", "target", "multiplier", "ci_low", "ci_high"])
    drawing = draw_scaling(Scaling(labels, "prenorm", points, {}, none, None), LIGHT)
    FigureCanvasAgg(drawing).draw()
    (axes,) = drawing.axes
    for axis in (axes.xaxis, axes.child_axes[0].xaxis):
        texts = [label.get_text() for label in axis.get_ticklabels()]
        assert len(texts) >= 2
        assert len(set(texts)) == len(texts)
        assert all(re.fullmatch(r"\$.*10\^\{-?\d+\}\$", text) for text in texts)


def test_labels_of_more_digits() -> None:
    assert power_label(1.15e13, 3) == r"$1.15\times10^{13}$"
    assert power_label(1.2e13, 3) == r"$1.2\times10^{13}$"
    assert power_label(1e13, 3) == "$10^{13}$"
