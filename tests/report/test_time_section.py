"""The page and figures at equal time: their numbers, their machine, and silence without times."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabricate import MACHINE, calibration, make_study
from matplotlib.axes import Axes

from attnres_eval.analysis.axes import over_seconds
from attnres_eval.analysis.tables import DIGITS
from attnres_eval.records import calibration_file, write_record
from attnres_eval.report.build import build_report, export_table
from attnres_eval.report.plot_compare import draw_multipliers
from attnres_eval.report.plot_scaling import SECONDS_AXIS, Scaling, draw_scaling
from attnres_eval.report.select import (
    AT_EQUAL_TIME,
    curves,
    main_row,
    multiplier_rows,
    multiplier_summary,
    of_model,
)
from attnres_eval.report.style import LIGHT, styles
from attnres_eval.report.words_time import (
    NOT_CALIBRATED,
    calibration_sentences,
    machine_sentence,
    multiplier_sentences,
)

LABELS = ["prenorm", "full_attnres", "block_attnres"]
TIMES = {"full_attnres": 1.4, "block_attnres": 1.05}
ROUNDED = 10.0 ** (1 - DIGITS)
Analysed = Callable[..., Any]


def drawn(axes: Axes, gid: str) -> Any:
    (found,) = [artist for artist in axes.get_children() if artist.get_gid() == gid]
    return found


def sections(markdown: str) -> dict[str, str]:
    parts = [part.split("\n", 1) for part in markdown.split("\n## ")[1:]]
    return {heading.strip(): text for heading, text in parts}


def test_page_and_report_show_both_multipliers(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(multipliers={"block_attnres": 1.3}, step_times=TIMES)
    page = build_report(folder).read_text(encoding="utf-8")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    rows = [line.split(",") for line in export_table(folder, "time_multipliers", "csv").split("\n")]
    table = {row[0]: dict(zip(rows[0], row, strict=False)) for row in reversed(rows[1:])}
    found = sections(markdown)
    for label, title in (("full_attnres", "Full AttnRes"), ("block_attnres", "Block AttnRes")):
        value = float(table[label]["multiplier"])
        summary = next(
            line for line in found["Compute multipliers"].splitlines() if f"| {title} |" in line
        )
        assert f"| {value:.4g} |" in summary
        assert f"{title} against PreNorm at equal time: {value:.3f}" in found["At equal time"]
    assert "Full AttnRes costs time" in found["At equal time"]
    assert "Fabricated (cpu; one thread, fp32, plain torch, torch 0.0)" in found["At equal time"]
    assert "figures/time_scaling.png" in found["At equal time"]
    assert f"{float(table['block_attnres']['multiplier']):.2f}× at equal time" in page
    assert NOT_CALIBRATED.split(",")[0] not in markdown


def test_without_times_the_page_says_so_in_one_line(built: Path) -> None:
    found = sections(built.with_suffix(".md").read_text(encoding="utf-8"))["At equal time"]
    assert found.strip() == NOT_CALIBRATED
    assert not (built.parent / "figures" / "time_scaling.png").exists()
    assert export_table(built.parent, "time_multipliers", "csv").startswith("variant,model,target")


def test_the_scaling_figure_is_over_calibrated_seconds(analysed: Analysed) -> None:
    made = analysed(multipliers={"block_attnres": 1.3}, step_times=TIMES, noise=0.0)
    points = over_seconds(made.results.finished, made.tables["step_times"])
    multipliers = of_model(made.tables["time_multipliers"])
    scaling = Scaling(
        labels=LABELS,
        baseline="prenorm",
        points=points,
        curves=curves(made.tables["time_fits"], SECONDS_AXIS.unit),
        multipliers=multipliers.assign(target=multipliers["target_seconds"]),
        arrow="block_attnres",
        axis=SECONDS_AXIS,
    )
    figure = draw_scaling(scaling, LIGHT)
    upper, lower = figure.axes[:2]
    runs = made.results.finished.set_index(["label", "size"])
    for label in LABELS:
        dots = drawn(upper, f"points-{label}")
        cost = [made.results.study.run("prenorm", size, 0).cost() for size in runs.loc[label].index]
        expected = [
            TIMES.get(label, 1.0) * c.training_flops_per_token / 1e9 * tokens
            for c, tokens in zip(cost, runs.loc[label, "tokens"], strict=True)
        ]
        np.testing.assert_allclose(dots.get_xdata(), expected, rtol=ROUNDED)
        np.testing.assert_array_equal(dots.get_ydata(), runs.loc[label, "loss"])
        assert dots.get_color() == styles([label], LIGHT)[label].colour
    (arrow,) = [text for text in upper.texts if text.get_gid() is None]
    row = multipliers.set_index("variant").loc["block_attnres"]
    assert arrow.xyann[0] == pytest.approx(row["target_seconds"])  # type: ignore[attr-defined]
    assert arrow.xy[0] / arrow.xyann[0] == pytest.approx(row["multiplier"])  # type: ignore[attr-defined]
    assert "seconds" in lower.get_xlabel()
    assert upper.child_axes == []


def test_the_figure_of_multipliers_has_a_row_at_equal_time(analysed: Analysed) -> None:
    made = analysed(multipliers={"block_attnres": 1.3}, step_times=TIMES)
    flops, timed = made.tables["multipliers"], made.tables["time_multipliers"]
    rows = multiplier_rows(flops, timed)
    assert list(rows["row"][:2]) == ["Full AttnRes", AT_EQUAL_TIME]
    assert list(rows[rows["main"]]["row"]) == [
        "Full AttnRes",
        AT_EQUAL_TIME,
        "Block AttnRes",
        AT_EQUAL_TIME,
    ]
    axes = draw_multipliers(rows, None, LIGHT, LABELS).axes[0]
    places = [tick.get_text() for tick in axes.get_yticklabels()]
    dots = {
        (float(line.get_ydata()[0]), float(line.get_xdata()[0])): line.get_color()  # type: ignore[index]
        for line in axes.lines
        if (line.get_gid() or "").startswith("dot-")  # type: ignore[attr-defined]
    }
    for label in ("full_attnres", "block_attnres"):
        place = places.index("Full AttnRes" if label == "full_attnres" else "Block AttnRes")
        look = styles([label], LIGHT)[label].colour
        assert dots[place, main_row(flops, label)["multiplier"]] == look
        assert dots[place + 1, main_row(timed, label)["multiplier"]] == look
    plain = multiplier_rows(flops, timed.iloc[:0])
    assert AT_EQUAL_TIME not in set(plain["row"])
    assert len(plain) == len(flops)


def test_the_summary_sets_them_side_by_side(analysed: Analysed) -> None:
    made = analysed(step_times=TIMES)
    flops, timed = made.tables["multipliers"], made.tables["time_multipliers"]
    summary = multiplier_summary(flops, timed).set_index("variant")
    for label, row in summary.iterrows():
        assert row["multiplier"] == main_row(flops, str(label))["multiplier"]
        assert row["multiplier_time"] == main_row(timed, str(label))["multiplier"]
        assert row["ci_high_time"] == main_row(timed, str(label))["ci_high"]


def test_one_size_has_step_times_and_no_multiplier(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(study=make_study(n_sizes=1), step_times=TIMES)
    build_report(folder)
    found = sections((folder / "report.md").read_text(encoding="utf-8"))["At equal time"]
    assert "over PreNorm's: Full AttnRes 1.40 and Block AttnRes 1.05" in found
    assert "against PreNorm at equal time" not in found
    assert not (folder / "figures" / "time_scaling.png").exists()


def test_sentences_follow_the_record(analysed: Analysed) -> None:
    labels = [*LABELS, *(f"v{number}" for number in range(6))]
    times = {label: 1 + number / 10 for number, label in enumerate(labels)}
    made = analysed({"labels": labels, "tasks": []}, step_times=times)
    text = " ".join(calibration_sentences(made.results, made.tables["step_times"]))
    assert "Of 8 variants the fastest and the slowest step take" in text
    assert "Full AttnRes 1.10 and v5 1.80" in text
    assert "Two copies of PreNorm timed against each other: 1.000" in text
    assert "Runs were trained on" not in text
    sentences = multiplier_sentences(made.results, made.tables["time_multipliers"])
    assert "at most 0.8%" in " ".join(sentences)


def test_runs_of_another_processor_are_named(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(step_times=TIMES)
    record = calibration(make_study(), TIMES)
    other = MACHINE.model_copy(update={"processor": "Other", "kernels": True, "precision": "bf16"})
    pairs = [pair.model_copy(update={"machine": other}) for pair in record.pairs]
    write_record(calibration_file(folder), record.model_copy(update={"pairs": pairs}))
    build_report(folder)
    found = sections((folder / "report.md").read_text(encoding="utf-8"))["At equal time"]
    assert "Times hold for Other (cpu; one thread, bf16, compiled kernels, torch 0.0)" in found
    assert "Runs were trained on Fabricated too" in found


def test_a_busy_machine_is_told(analysed: Analysed) -> None:
    made = analysed(step_times=TIMES)
    times = made.tables["step_times"]
    quiet = " ".join(calibration_sentences(made.results, times.assign(baseline_spread=0.05)))
    assert "varied by 5% (interquartile range over median) while it was timed." in quiet
    busy = " ".join(calibration_sentences(made.results, times.assign(baseline_spread=0.4)))
    assert "something else ran on the machine" in busy


def test_no_machine_without_times(analysed: Analysed) -> None:
    assert machine_sentence(analysed().results) == ""
