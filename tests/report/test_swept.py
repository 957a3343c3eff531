"""Figures, words and sections of studies over rates, over shapes and over options."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study
from matplotlib.figure import Figure as Drawing
from sweeps import blocks_study, rates_study, shapes_study

from attnres_eval.analysis.collect import Results, collect
from attnres_eval.report.build import build_report, study_figures, study_tables
from attnres_eval.report.figures import Tables
from attnres_eval.report.figures_swept import swept_lead
from attnres_eval.report.plot_over import NUDGE, draw_over
from attnres_eval.report.plot_rates import draw_best_rates, draw_rates
from attnres_eval.report.study_page import study_page
from attnres_eval.report.style import DARK, LIGHT, styles
from attnres_eval.report.views import view
from attnres_eval.report.words_over import (
    option_sentences,
    shapes_headline,
    shapes_sentences,
)
from attnres_eval.report.words_rates import rates_headline, rates_sentences
from attnres_eval.report.words_robustness import robustness_sentences
from attnres_eval.study import Study

Fabricated = Callable[..., Path]
RATES = {
    "prenorm_x0.125": 0.5, "prenorm_x0.25": 0.8, "prenorm_x0.5": 1.2, "prenorm": 1.0,
    "prenorm_x2": 0.3,
    # Better than PreNorm at its own rate, worse at PreNorm's; far above every panel at the last.
    "full_attnres_x0.125": 1.1, "full_attnres_x0.25": 1.5, "full_attnres_x0.5": 0.6,
    "full_attnres": 0.4, "full_attnres_x2": 1e-5,
    "mhc_x0.5": 0.6, "mhc": 0.9, "mhc_x2": 1.9,
}  # fmt: skip


def analysed(folder: Path) -> tuple[Results, Tables]:
    results = collect(folder)
    return results, study_tables(results)


@pytest.fixture
def swept(fabricated: Fabricated) -> tuple[Results, Tables]:
    return analysed(fabricated(study=rates_study(), multipliers=RATES, noise=1e-4))


def lines(drawing: Drawing, gid: str) -> list[Any]:
    return [line for axes in drawing.axes for line in axes.lines if line.get_gid() == gid]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_curves_of_rates_are_the_table(swept: tuple[Results, Tables], theme: Any) -> None:
    rates = swept[1]["rates"]
    drawing = draw_rates(rates, "prenorm", theme)
    looks = styles(["prenorm", "full_attnres", "mhc"], theme)
    for name in ("full_attnres", "mhc"):
        own = rates[rates["variant"] == name]
        (curve,) = lines(drawing, f"rates-{name}")
        np.testing.assert_allclose(curve.get_xdata(), own["learning_rate"])
        np.testing.assert_allclose(curve.get_ydata(), own["nats_per_token"])
        assert curve.get_color() == looks[name].colour
        (ring,) = lines(drawing, f"rates-best-{name}")
        best = own[own["best"].astype(bool)].iloc[0]
        assert ring.get_xdata()[0] == best["learning_rate"]
    # The baseline's own curve stands in both panels and has no panel of its own.
    assert len(lines(drawing, "reference-prenorm")) == 2
    assert not lines(drawing, "rates-prenorm")
    triangles = [line for axes in drawing.axes for line in axes.lines if line.get_marker() == "^"]
    far = rates[(rates["variant"] == "full_attnres") & (rates["scale"] == 2)].iloc[0]
    top = drawing.axes[0].get_ylim()[1]
    assert far["nats_per_token"] > top
    assert [line.get_xdata()[0] for line in triangles if line.get_ydata()[0] == top] == [
        far["learning_rate"]
    ]
    texts = [text.get_text() for axes in drawing.axes for text in axes.texts]
    assert texts == [f"{far['nats_per_token']:.2f}"]


def test_both_comparisons_are_drawn_with_their_intervals(swept: tuple[Results, Tables]) -> None:
    best = swept[1]["best_rates"]
    drawing = draw_best_rates(best, "prenorm", LIGHT)
    for _, row in best[best["variant"] != "prenorm"].iterrows():
        for column, low in (
            ("difference_at_baseline_rate", "at_baseline_rate"),
            ("difference_at_best", "at_best"),
        ):
            (dot,) = lines(drawing, f"{column}-{row['variant']}")
            assert dot.get_xdata()[0] == row[column]
            (bar,) = lines(drawing, f"{low}_low-{row['variant']}")
            assert list(bar.get_xdata()) == [row[f"{low}_low"], row[f"{low}_high"]]
    names = [text.get_text() for text in drawing.axes[0].get_yticklabels()]
    assert names == ["Full AttnRes\n0.00075", "mHC\n0.006 (edge)"]


def test_the_words_say_what_the_rate_changes(swept: tuple[Results, Tables]) -> None:
    results, tables = swept
    best = tables["best_rates"]
    assert rates_headline(results, best) == (
        "At size d32 and PreNorm's best learning rate, 0 lie below it and 2 above; each at its own"
        " best rate, 2 lie below it and 0 above, of 2 variants by 95% intervals."
    )
    text = " ".join(rates_sentences(results, best))
    assert "PreNorm's is 0.0015 at size d32; 2 variants of 2 have another one." in text
    assert "The rate changes the finding for 2 variants: Full AttnRes (+" in text
    assert text.endswith("a better rate may lie beyond: mHC.")


def test_no_change_is_said_too(fabricated: Fabricated) -> None:
    worth = {name: value for name, value in RATES.items() if name.startswith("prenorm")}
    worth |= {name: value / 3 for name, value in RATES.items() if name not in worth}
    results, tables = analysed(fabricated(study=rates_study(), multipliers=worth, noise=1e-4))
    text = " ".join(rates_sentences(results, tables["best_rates"]))
    assert "The rate changes the finding for no variant." in text


def over_prenorm(study: Study, size: str) -> float:
    """Training FLOPs of Full AttnRes over PreNorm's."""
    own, base = (study.run(label, size, 0) for label in ("full_attnres", "prenorm"))
    return own.training_flops / base.training_flops


def test_slopes_in_words(fabricated: Fabricated) -> None:
    results, tables = analysed(fabricated(study=shapes_study(), noise=1e-4, seed_noise=1e-4))
    slopes = tables["shape_slopes"].copy()
    shown = view("shape_slopes", slopes)
    assert {row[shown.headings.index("Over")] for row in shown.rows} == {"PreNorm"}
    known = slopes["variant"] == "full_attnres"
    slopes.loc[known, ["slope", "ci_low", "ci_high"]] = [-0.02, -0.03, -0.01]
    slopes.loc[slopes["variant"] == "block_attnres", ["slope", "ci_low", "ci_high"]] = [0, -1, 1]
    text = " ".join(shapes_sentences(results, slopes))
    price = re.search(r"4 to 32 blocks Full AttnRes (.*) to (.*) times and Block AttnRes", text)
    assert price is not None
    assert list(price.groups()) == [
        f"{over_prenorm(results.study, size):.2f}" for size in ("l4", "l32")
    ]
    assert (
        "Full AttnRes gains on PreNorm with depth (-0.0200, 95% interval -0.0300 to -0.0100)."
        in text
    )
    assert "least: PreNorm 16, Full AttnRes 32 and Block AttnRes 32." in text
    assert "Block AttnRes shows no trend against PreNorm with depth: the interval holds 0" in text
    assert shapes_headline(results, slopes).startswith(
        "At depths that cost PreNorm the same FLOPs, with each doubling of depth, the difference to"
        " PreNorm changes by -0.0200"
    )
    slopes.loc[known, ["slope", "ci_low", "ci_high"]] = [0.02, 0.01, 0.03]
    assert "Full AttnRes loses against" in " ".join(shapes_sentences(results, slopes))
    slopes.loc[known, "n_depths"] = 2
    assert "least: PreNorm 16 and Block" in " ".join(shapes_sentences(results, slopes))


def test_curves_over_depth_are_the_table(fabricated: Fabricated) -> None:
    _, tables = analysed(fabricated(study=shapes_study()))
    shapes = tables["shapes"]
    rows = shapes.assign(x=shapes["n_layers"].astype(float))
    labels = ["prenorm", "full_attnres", "block_attnres"]
    drawing = draw_over(rows, labels, "prenorm", "Blocks", LIGHT)
    left, right = drawing.axes
    for place, name in enumerate(labels):
        own = rows[rows["variant"] == name]
        (curve,) = lines(drawing, f"over-{name}")
        np.testing.assert_allclose(curve.get_ydata(), own["nats_per_token"])
        nudged = own["x"] * 2 ** (NUDGE * (place - 1))
        np.testing.assert_allclose(curve.get_xdata(), nudged)
    assert not lines(drawing, "difference-prenorm")
    (curve,) = lines(drawing, "difference-full_attnres")
    own = rows[rows["variant"] == "full_attnres"]
    np.testing.assert_allclose(curve.get_ydata(), own["difference"])
    drawn = {tuple(line.get_ydata()) for line in right.lines}
    for low, high in zip(own["ci_low"], own["ci_high"], strict=True):
        assert (low, high) in drawn
    assert [text.get_text() for text in left.get_xticklabels()] == ["4", "8", "16", "32"]


def test_an_option_in_words(fabricated: Fabricated) -> None:
    results, tables = analysed(
        fabricated(study=blocks_study(), multipliers={"n2": 1.3, "n1": 0.7}, noise=1e-4)
    )
    table = tables["option_sweep"]
    text = option_sentences(results, table)
    assert len(text) == 2
    assert re.match(
        r"Block AttnRes over num_blocks at size d32, minus PreNorm's loss: least -0\.\d+ \(.*\)"
        r" with 2, greatest \+0\.\d+ \(.*\) with 1 nats per token\.$",
        text[0],
    )
    assert text[1].startswith("Block AttnRes at 0.5× the rate over num_blocks")


@pytest.mark.parametrize(
    ("study", "headings", "figures"),
    [
        (rates_study, ["Learning rates"], ["rates", "best_rates"]),
        (shapes_study, ["Depth against width"], ["shapes"]),
        (blocks_study, ["Over an option"], ["option_num_blocks"]),
        (make_study, ["Robustness"], []),
    ],
)
def test_pages_of_sweeps(
    fabricated: Fabricated, study: Any, headings: list[str], figures: list[str]
) -> None:
    folder = fabricated(study=study(), multipliers=RATES)
    page = html.unescape(build_report(folder).read_text(encoding="utf-8"))
    for heading in headings:
        assert f">{heading}</h2>" in page
    for figure in figures:
        assert (folder / "figures" / f"{figure}.svg").is_file()
    results, tables = analysed(folder)
    lead = swept_lead(results, tables)
    if figures:
        assert lead is not None
        assert lead[0] in page
    else:
        assert lead is None


def test_robustness_in_words(fabricated: Fabricated) -> None:
    _, tables = analysed(
        fabricated(study=make_study(n_sizes=4), multipliers={"block_attnres": 1.3}, noise=1e-4)
    )
    table = tables["robustness"]
    own = table[(table["variant"] == "block_attnres") & (table["check"] != "result")]
    (text,) = robustness_sentences(table, "block_attnres")
    assert f"from {own['multiplier'].min():.2f} (" in text
    assert f"to {own['multiplier'].max():.2f} (" in text
    sure = own.dropna(subset=["ci_low"])
    published = ((sure["ci_low"] <= 1.25) & (sure["ci_high"] >= 1.25)).sum()
    ones = ((sure["ci_low"] <= 1) & (sure["ci_high"] >= 1)).sum()
    assert f"Of {len(sure)} intervals, {ones} hold" in text
    assert f"and {published} the published 1.25." in text
    assert robustness_sentences(table, None) == []
    assert robustness_sentences(pd.DataFrame(columns=table.columns), "block_attnres") == []


UNASKED = ["Compute multipliers", "At equal time", "Benchmarks", "Against PreNorm"]


@pytest.mark.parametrize(
    ("study", "rounds", "shown"),
    [
        (rates_study(), 0, []),
        (rates_study(), 30, ["At equal time"]),
        (shapes_study(), 0, ["Against PreNorm"]),
        (make_study(n_sizes=1), 30, ["At equal time", "Benchmarks", "Against PreNorm"]),
        (make_study(), 30, UNASKED),
    ],
    ids=["rates", "timed rates", "shapes", "one size", "ladder"],
)
def test_pages_leave_out_what_their_study_does_not_ask(
    fabricated: Fabricated, tmp_path: Path, study: Study, rounds: int, shown: list[str]
) -> None:
    evaluation = study.evaluation.model_copy(update={"calibration_rounds": rounds})
    folder = fabricated(study=study.model_copy(update={"evaluation": evaluation}))
    results, tables = analysed(folder)
    page = study_page(results, tables, study_figures(results, tables, tmp_path / "figures"))
    headings = [section.heading for section in page.sections]
    assert [name for name in UNASKED if name in headings] == shown


@pytest.mark.parametrize(("seeds", "large"), [((0, 1, 2), True), ((0,), False)])
def test_no_number_without_its_interval_is_large(
    fabricated: Fabricated, tmp_path: Path, seeds: tuple[int, ...], large: bool
) -> None:
    results, tables = analysed(fabricated(study=make_study(seeds=seeds)))
    page = study_page(results, tables, study_figures(results, tables, tmp_path / "figures"))
    assert bool(page.number) == bool(page.number_note) == large
    assert "times the compute of Block AttnRes" in page.headline
