import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from attnres_eval.analysis.multiplier import BOTH_OWN, PER_PAIR, SHARED
from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.report.build import study_figures
from attnres_eval.report.plot_compare import (
    draw_multipliers,
    draw_scores,
    multiplier_range,
    short_count,
)
from attnres_eval.report.plot_paper import draw_downstream
from attnres_eval.report.plot_scaling import Scaling, beyond_panel, draw_scaling, power_label
from attnres_eval.report.plot_training import draw_training, smoothed_curves, smoothing_window
from attnres_eval.report.select import (
    OVER_OWN,
    Curve,
    curves,
    multiplier_rows,
    of_model,
    primary_scores,
)
from attnres_eval.report.style import DARK, LIGHT, styles

LABELS = ["prenorm", "full_attnres", "block_attnres"]
TRUTH = {"block_attnres": 1.3}


def drawn(axes: Axes, gid: str) -> Any:
    """The one artist of a name."""
    found: list[Artist] = [artist for artist in axes.get_children() if artist.get_gid() == gid]
    assert len(found) == 1, gid
    return found[0]


def scaling_of(analysed: Any, **changes: Any) -> Scaling:
    finished = analysed.results.finished.rename(columns={"flops": "compute"})
    multipliers = of_model(analysed.tables["multipliers"])
    values: dict[str, Any] = {
        "labels": LABELS,
        "baseline": "prenorm",
        "points": finished[["label", "compute", "loss"]],
        "curves": curves(analysed.tables["fits"]),
        "multipliers": multipliers.assign(target=multipliers["target_compute_flops"]),
        "arrow": "block_attnres",
    }
    return Scaling(**{**values, **changes})


def test_scaling_shows_every_run_and_the_fitted_lines(analysed: Callable[..., Any]) -> None:
    made = analysed(multipliers=TRUTH)
    scaling = scaling_of(made)
    figure = draw_scaling(scaling, LIGHT)
    upper, lower = figure.axes[:2]
    for label in LABELS:
        own = scaling.points[scaling.points["label"] == label]
        points, curve = drawn(upper, f"points-{label}"), drawn(upper, f"curve-{label}")
        np.testing.assert_array_equal(points.get_xdata(), own["compute"])
        np.testing.assert_array_equal(points.get_ydata(), own["loss"])
        np.testing.assert_allclose(
            curve.get_ydata(), scaling.curves[label].loss(curve.get_xdata()), rtol=1e-12
        )
        assert curve.get_color() == points.get_color() == styles([label], LIGHT)[label].colour
    assert upper.get_xscale() == upper.get_yscale() == "log"
    implied = drawn(lower, "implied-block_attnres").get_ydata()
    assert np.exp(np.log(implied).mean()) == pytest.approx(1.3, rel=0.05)


def test_scaling_arrow_ends_on_the_baselines_curve(analysed: Callable[..., Any]) -> None:
    scaling = scaling_of(analysed(multipliers=TRUTH, noise=0.0))
    upper = draw_scaling(scaling, LIGHT).axes[0]
    arrows: list[Any] = [text for text in upper.texts if text.get_gid() is None]
    assert len(arrows) == 1
    (start, loss), (end, other) = arrows[0].xyann, arrows[0].xy
    row = scaling.multipliers.set_index("variant").loc["block_attnres"]
    assert loss == other
    assert start == row["target_compute_flops"]
    assert end / start == pytest.approx(row["multiplier"])
    assert scaling.curves["prenorm"].loss(np.array(end)) == pytest.approx(loss, rel=1e-3)
    assert "1.30×" in drawn(upper, "arrow-text").get_text()


def test_scaling_has_pflops_days_on_top(analysed: Callable[..., Any]) -> None:
    figure = draw_scaling(scaling_of(analysed()), LIGHT)
    figure.draw_without_rendering()
    upper = figure.axes[0]
    top = upper.child_axes[0]
    assert top.get_xlabel() == "PFLOP/s-days"
    np.testing.assert_allclose(np.array(upper.get_xlim()) / PFLOPS_DAY, top.get_xlim())
    assert "FLOPs" in figure.axes[1].get_xlabel()
    assert "nats per token" in upper.get_ylabel()


def test_scaling_bands_are_the_intervals_and_absent_without_one(
    analysed: Callable[..., Any],
) -> None:
    scaling = scaling_of(analysed(multipliers=TRUTH))
    upper = draw_scaling(scaling, LIGHT).axes[0]
    row = scaling.multipliers.set_index("variant").loc["block_attnres"]
    edges = drawn(upper, "band-block_attnres").get_paths()[0].vertices
    first = edges[edges[:, 0] == edges[:, 0].min()]
    expected = [
        float(scaling.curves["prenorm"].loss(first[0, 0] * row[end]))
        for end in ("ci_low", "ci_high")
    ]
    assert sorted({round(y, 9) for y in first[:, 1]}) == [round(y, 9) for y in sorted(expected)]
    without = scaling.multipliers.assign(ci_low=np.nan, ci_high=np.nan)
    upper = draw_scaling(scaling_of_points(scaling, without), LIGHT).axes[0]
    assert not [artist for artist in upper.get_children() if "band" in (artist.get_gid() or "")]


def test_a_variant_that_stands_apart_does_not_squeeze_the_lower_panel(
    analysed: Callable[..., Any],
) -> None:
    scaling = scaling_of(analysed(multipliers=TRUTH))
    usual = draw_scaling(scaling, LIGHT).axes[1].get_ylim()
    points = scaling.points.copy()
    # The first of them has diverged.
    points.loc[points.index[points["label"] == "full_attnres"][:1], "loss"] *= 1.4
    changed = replace(scaling, points=points)
    assert draw_scaling(changed, LIGHT).axes[1].get_ylim()[0] < usual[0]
    assert beyond_panel(scaling) == {}
    apart = replace(changed, apart=("full_attnres",))
    assert beyond_panel(apart) == {"full_attnres": 1}
    # So are runs that are worth far more compute than they took.
    points.loc[points.index[points["label"] == "block_attnres"], "loss"] *= 0.01
    assert beyond_panel(apart)["block_attnres"] == (points["label"] == "block_attnres").sum()
    points.loc[points.index[points["label"] == "block_attnres"], "loss"] /= 0.01
    assert draw_scaling(apart, LIGHT).axes[1].get_ylim()[0] >= usual[0]
    # In the upper one it is seen all the same.
    low, high = draw_scaling(apart, LIGHT).axes[0].get_ylim()
    assert low < points["loss"].max() < high


def test_captions_count_the_runs_beyond_the_lower_panel(analysed: Callable[..., Any]) -> None:
    made = analysed(multipliers=TRUTH)
    runs = made.results.runs
    runs.loc[runs.index[runs["label"] == "full_attnres"][:2], "loss"] *= 2
    figures = study_figures(made.results, made.tables, made.folder / "figures")
    captions = {figure.name: figure.caption for figure in figures}
    assert captions["scaling"].endswith("Runs beyond the lower panel: Full AttnRes (2).")


def test_labels_without_a_curve_are_left_out_of_scaling_and_named_as_a_number(
    analysed: Callable[..., Any],
) -> None:
    labels = ("prenorm", "full_attnres", "block_attnres", "mhc")
    gone = [f"mhc-{size}-s{seed}" for size in ("d48", "d64") for seed in (0, 1, 2)]
    made = analysed({"labels": labels}, missing=gone)
    figures = study_figures(made.results, made.tables, made.folder / "figures")
    svg = (made.folder / "figures" / "scaling.svg").read_text(encoding="utf-8")
    assert "curve-full_attnres" in svg
    assert "mhc" not in svg
    caption = next(figure.caption for figure in figures if figure.name == "scaling")
    assert "Not drawn: labels that ran at too few sizes for a curve (1)." in caption
    # Where none has a curve, all are drawn.
    single = analysed({"labels": labels, "n_sizes": 1})
    figures = study_figures(single.results, single.tables, single.folder / "figures")
    assert "points-mhc" in (single.folder / "figures" / "scaling.svg").read_text(encoding="utf-8")
    assert "Not drawn" not in figures[0].caption


def scaling_of_points(scaling: Scaling, multipliers: pd.DataFrame) -> Scaling:
    return Scaling(
        scaling.labels, scaling.baseline, scaling.points, scaling.curves, multipliers, None
    )


def test_scaling_without_fits_shows_points_alone(analysed: Callable[..., Any]) -> None:
    made = analysed({"n_sizes": 1})
    scaling = scaling_of(made)
    assert scaling.curves == {}
    figure = draw_scaling(scaling, DARK)
    assert len(figure.axes) == 1
    assert len(drawn(figure.axes[0], "points-prenorm").get_xdata()) == 3
    assert to_hex(figure.get_facecolor()) == DARK.page


def rows(**changes: Any) -> pd.DataFrame:
    values: dict[str, Any] = {
        "variant": ["full_attnres", "block_attnres", "block_attnres"],
        "row": ["Full", "Block", "other"],
        "main": [True, True, False],
        "multiplier": [0.9, 1.2, np.nan],
        "ci_low": [np.nan, 0.8, np.nan],
        "ci_high": [np.nan, 40.0, np.nan],
    }
    return pd.DataFrame({**values, **changes})


def test_multipliers_are_dots_with_bars_and_open_without() -> None:
    axes = draw_multipliers(rows(), 1.25, LIGHT, LABELS).axes[0]
    looks = styles(LABELS, LIGHT)
    lone, sure = drawn(axes, "dot-full_attnres"), drawn(axes, "dot-block_attnres")
    assert list(lone.get_xdata()) == [0.9]
    assert lone.get_markerfacecolor() == LIGHT.page
    assert lone.get_color() == looks["full_attnres"].colour
    assert sure.get_markerfacecolor() == looks["block_attnres"].colour
    assert list(drawn(axes, "interval-block_attnres").get_xdata()) == [0.8, 40.0]
    assert not [a for a in axes.get_children() if a.get_gid() == "interval-full_attnres"]
    lines = {line.get_label(): np.asarray(line.get_xdata())[0] for line in axes.lines}
    assert lines["no saving"] == 1
    assert lines["published 1.25×"] == 1.25
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Full", "Block"]


def test_an_endless_interval_ends_in_a_triangle_at_the_edge() -> None:
    axes = draw_multipliers(rows(), None, LIGHT, LABELS).axes[0]
    edge = axes.get_xlim()[1]
    assert edge < 40
    heads = [line for line in axes.lines if line.get_marker() == ">"]
    assert [list(np.asarray(line.get_xdata())) for line in heads] == [[edge]]
    assert "published" not in str([line.get_label() for line in axes.lines])


def test_scores_have_a_panel_a_task_with_its_chance_line(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": ["arc_easy", "piqa", "boolq"]}, generation=["boolq"])
    scores = primary_scores(made.tables["benchmarks"])
    figure = draw_scores(scores, LABELS, LIGHT)
    panels = {axes.get_title().split("\n")[0]: axes for axes in figure.axes if axes.get_visible()}
    assert set(panels) == {"arc_easy", "piqa", "boolq"}
    # A label without a score has no empty row.
    some = draw_scores(scores[scores["variant"] != "full_attnres"], LABELS, LIGHT).axes[0]
    assert [tick.get_text() for tick in some.get_yticklabels()] == ["PreNorm", "Block AttnRes"]
    for _, row in scores.iterrows():
        task, label = row["task"], row["variant"]
        assert drawn(panels[task], f"dot-{label}").get_xdata() == [row["score"]]
        interval = drawn(panels[task], f"interval-{label}").get_xdata()
        assert list(interval) == [row["ci_low"], row["ci_high"]]
    chance = {
        task: [
            np.asarray(line.get_xdata())[0] for line in axes.lines if line.get_label() == "chance"
        ]
        for task, axes in panels.items()
    }
    assert chance == {"arc_easy": [0.25], "piqa": [0.25], "boolq": []}


def test_training_curves_are_means_over_seeds_and_paired_differences() -> None:
    tokens = np.arange(1, 101) * 10
    parts = [
        pd.DataFrame(
            {"label": label, "seed": seed, "tokens": tokens, "loss": 3 + shift + seed + 0.1 * seed}
        )
        for label, shift in (("prenorm", 0.0), ("block_attnres", -0.25))
        for seed in (0, 1)
    ]
    metrics = pd.concat(parts)
    smooth = smoothed_curves(metrics, LABELS)
    assert list(smooth.columns) == ["prenorm", "block_attnres"]
    assert smooth["prenorm"].iloc[0] == pytest.approx(3.55)
    assert len(smooth) == 100 - (smoothing_window(100) - 1)
    upper, lower = draw_training(metrics, LABELS, "prenorm", LIGHT).axes
    np.testing.assert_allclose(drawn(lower, "difference-block_attnres").get_ydata(), -0.25)
    np.testing.assert_allclose(drawn(upper, "loss-prenorm").get_ydata(), 3.55)


@pytest.mark.parametrize(("steps", "window"), [(1, 1), (10, 1), (100, 5), (200, 11)])
def test_smoothing_windows_are_odd(steps: int, window: int) -> None:
    assert smoothing_window(steps) == window


def test_downstream_without_questions_has_no_bar() -> None:
    table = pd.DataFrame(
        {
            "task": ["known", "unknown"],
            "difference": [1.0, 2.0],
            "ci_low": [-1.0, np.nan],
            "ci_high": [3.0, np.nan],
        }
    )
    axes = draw_downstream(table, "block_attnres", LIGHT).axes[0]
    assert list(drawn(axes, "interval-known").get_xdata()) == [-1, 3]
    assert drawn(axes, "dot-unknown").get_markerfacecolor() == LIGHT.page
    assert not [a for a in axes.get_children() if a.get_gid() == "interval-unknown"]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover one another, and texts that leave the figure."""
    figure.draw_without_rendering()
    # Locators propose ticks beyond the axis too; those are never drawn.
    beyond = {
        tick.label1
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = [text for text in figure.findobj(Text) if text.get_text() and text not in beyond]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    page = figure.bbox
    bad = [
        (name, "edge")
        for name, box in boxes
        if box.x0 < page.x0 - 1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1
    ]
    for index, (name, box) in enumerate(boxes):
        for other, second in boxes[index + 1 :]:
            beside = box.x0 + 1 >= second.x1 or second.x0 + 1 >= box.x1
            if not beside and box.y0 + 1 < second.y1 and second.y0 + 1 < box.y1:
                bad.append((name, other))
    return bad


def test_no_text_covers_another(analysed: Callable[..., Any]) -> None:
    made = analysed({"tasks": ["arc_easy", "mmlu_abstract_algebra"]}, multipliers=TRUTH)
    multipliers = made.tables["multipliers"].assign(
        row=made.tables["multipliers"]["model"], main=False
    )
    assert overlaps(draw_multipliers(multipliers, 1.25, LIGHT, LABELS)) == []
    scores = primary_scores(made.tables["benchmarks"])
    assert overlaps(draw_scores(scores, LABELS, LIGHT)) == []
    assert overlaps(draw_training(made.results.curves, LABELS, "prenorm", LIGHT)) == []


def test_the_result_over_the_baselines_own_rate_is_a_result_of_its_own() -> None:
    known = pd.DataFrame(
        {
            "variant": ["block_attnres_own"] * 3,
            "model": [SHARED, PER_PAIR, BOTH_OWN],
            "multiplier": [1.12, 1.13, 1.07],
            "ci_low": [1.09, 1.04, 1.03],
            "ci_high": [1.16, 1.22, 1.11],
        }
    )
    shown = multiplier_rows(known, known.iloc[:0])
    assert list(shown["row"]) == ["Block AttnRes at its own rate", OVER_OWN, PER_PAIR]
    assert list(shown["main"]) == [True, True, False]
    assert list(shown["multiplier"]) == [1.12, 1.07, 1.13]
    axes = draw_multipliers(shown, None, LIGHT, ["prenorm", "block_attnres_own"]).axes[0]
    weights = {tick.get_text(): tick.get_fontweight() for tick in axes.get_yticklabels()}
    assert weights[OVER_OWN] == "normal"
    assert weights["Block AttnRes at its own rate"] == "bold"


def test_an_interval_far_wider_than_the_others_does_not_widen_the_axis() -> None:
    known = rows(
        variant=["full_attnres", "block_attnres", "prenorm"],
        multiplier=[0.95, 1.2, 0.7],
        ci_low=[0.9, 1.1, 0.1],
        ci_high=[1.0, 1.3, 4.9],
    )
    low, high = multiplier_range(known, 1.25)
    assert (low, high) == (pytest.approx(0.7 / 1.06), pytest.approx(1.3 * 1.06))
    axes = draw_multipliers(known, 1.25, LIGHT, LABELS).axes[0]
    heads = {str(line.get_marker()): list(np.asarray(line.get_xdata())) for line in axes.lines}
    assert (heads["<"], heads[">"]) == ([low], [high])
    # One alone is shown whole.
    assert multiplier_range(known.iloc[2:], None)[0] == 1 / 8


def test_fonts_are_ten_points_or_more(analysed: Callable[..., Any]) -> None:
    figure = draw_scaling(scaling_of(analysed(multipliers=TRUTH)), LIGHT)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert len(texts) > 10
    assert min(float(text.get_fontsize()) for text in texts) >= 10
    assert figure.get_figwidth() == 7


def test_figures_on_disk_are_the_same_bytes_twice(
    analysed: Callable[..., Any], tmp_path: Path
) -> None:
    made = analysed()
    first = study_figures(made.results, made.tables, tmp_path / "one")
    study_figures(made.results, made.tables, tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 4 * len(first) == 36
    for name in files:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        if name.endswith("svg"):
            ElementTree.fromstring(content)
            assert not re.search(rb"<dc:date>", content)


def test_a_curve_inverts_itself_and_stops_at_its_floor() -> None:
    curve = Curve(a=2.0, alpha=0.1, e=1.0)
    compute = np.array([1e15, 1e18])
    np.testing.assert_allclose(curve.compute(curve.loss(compute)), compute)
    assert np.isnan(curve.compute(np.array([0.9]))).all()


def test_the_result_is_the_shared_exponent(analysed: Callable[..., Any]) -> None:
    made = analysed()
    assert set(of_model(made.tables["multipliers"])["model"]) == {SHARED}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.6, "5.6"),
        (1e20, "$10^{20}$"),
        (2e20, r"$2\times10^{20}$"),
        (6.9e-6, r"$6.9\times10^{-6}$"),
    ],
)
def test_power_labels(value: float, text: str) -> None:
    assert power_label(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (129_300, "129k"), (4.7e6, "4.7M"), (1.4e12, "1.4e+03B")]
)
def test_short_counts(value: float, text: str) -> None:
    assert short_count(value) == text
