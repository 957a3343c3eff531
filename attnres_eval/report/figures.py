"""The figures of a study: each as PNG and SVG, in a light and a dark theme."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure as Drawing

from attnres_eval.analysis.axes import over_seconds
from attnres_eval.analysis.claims import PUBLISHED_VARIANT
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.pooled import apart_somewhere
from attnres_eval.analysis.questions import GOLD_BITS
from attnres_eval.analysis.shapes import is_over_shapes
from attnres_eval.files import write_bytes
from attnres_eval.reference.paper import PRINTED_MULTIPLIER
from attnres_eval.report import words, words_paired, words_time
from attnres_eval.report.charts.chart import Chart
from attnres_eval.report.charts.differences import differences_chart
from attnres_eval.report.charts.multipliers import multipliers_chart
from attnres_eval.report.charts.scaling import scaling_chart
from attnres_eval.report.charts.scores import (
    paired_chart,
    scores_chart,
    steps_chart,
    task_scaling_chart,
)
from attnres_eval.report.charts.training import training_chart
from attnres_eval.report.legend import shared_names
from attnres_eval.report.output import contents, drawn, for_page, themes
from attnres_eval.report.plot_compare import draw_multipliers, draw_scores, draw_speed
from attnres_eval.report.plot_differences import draw_differences
from attnres_eval.report.plot_scaling import (
    MOST_BANDS,
    SECONDS_AXIS,
    Scaling,
    beyond_panel,
    draw_scaling,
)
from attnres_eval.report.plot_steps import draw_steps
from attnres_eval.report.plot_tasks import draw_paired, draw_task_scaling
from attnres_eval.report.plot_training import draw_training, smoothed_curves, smoothing_window
from attnres_eval.report.select import (
    AT_EQUAL_TIME,
    OVER_OWN,
    curves,
    has_interval,
    headline_variant,
    multiplier_rows,
    of_model,
    primary_scores,
)
from attnres_eval.report.speed import speed_caption, speed_findings, speed_rows
from attnres_eval.report.style import THEMES, Theme, label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words_differences import at_largest_size, difference_headline
from attnres_eval.variants import FAMILIES, VARIANTS

MOST_CHECKED = 6
"""With more variants than this the other models' multipliers are left to the table."""

PAIRED_UNITS = {"acc": "Accuracy", GOLD_BITS: "Gold bits per byte"}
"""Metrics of paired differences that are drawn, with the label of their axis."""

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Figure:
    """A figure on disk: `<name>.svg` and `.png`, and the same ending in `-dark`."""

    name: str
    title: str
    caption: str
    """How to read it."""
    alt: str
    """What it shows, for those who cannot see it."""
    folder: str = field(default="figures", kw_only=True)
    """Where its files are, from the page's folder."""
    wide: bool = field(default=True, kw_only=True)
    """Whether it has the width of a page's text, and not of one of two columns."""
    chart: Chart | None = field(default=None, kw_only=True)
    """Its interactive form, where there is one."""

    def file(self, theme: Theme, suffix: str) -> str:
        """The name of one of its files."""
        return f"{self.name}{'' if theme.name == 'light' else '-' + theme.name}.{suffix}"

    def files(self) -> list[str]:
        """The names of all its files on a page."""
        return [self.file(theme, suffix) for theme in THEMES for suffix in ("svg", "png")]


def save_figure(
    figure: Figure,
    draw: Callable[[Theme], Drawing],
    folder: Path,
    chart: Callable[[], Chart] | None = None,
) -> Figure:
    """Draws a figure in every theme and writes it; the bytes depend on the numbers alone.

    Inside of `attnres_eval.report.output.saving_as` it has the look and the formats named there.

    Args:
        figure: what it is.
        draw: draws it in a theme.
        folder: where its files go.
        chart: makes its interactive form, which a figure for a paper has not.

    Returns:
        The figure as it was written, with its chart.
    """
    for theme in themes():
        drawing, wide = drawn(draw, theme)
        for suffix, content in contents(drawing, theme):
            write_bytes(folder / figure.file(theme, suffix), content)
    on_page = chart is not None and for_page()
    return replace(figure, wide=wide, chart=chart() if chart and on_page else None)


def draw_figures(results: Results, tables: Tables, folder: Path) -> list[Figure]:
    """Draws every figure that the results bear, in the report's order."""
    timed = _timed(results, tables)
    drawn = [
        _scaling(results, tables, timed, folder),
        _time_scaling(results, tables, timed, folder),
        _multipliers(results, tables, folder),
        _scores(results, tables, folder),
        _paired(results, tables, folder),
        _task_scaling(results, tables, folder),
        _steps(results, tables, folder),
        _differences(results, tables, folder),
        _training(results, folder),
        _speed(results, tables, folder),
    ]
    return [figure for figure in drawn if figure is not None]


def _labels(results: Results) -> list[str]:
    return list(results.study.variants)


def _scaling(results: Results, tables: Tables, timed: Scaling | None, folder: Path) -> Figure:
    multipliers = of_model(tables["multipliers"])
    points = results.finished.rename(columns={"flops": "compute"})
    labels, left_out = _with_curves(results, multipliers)
    scaling = Scaling(
        labels=labels,
        baseline=results.study.baseline,
        points=points.loc[points["label"].isin(labels), ["run", "label", "compute", "loss"]],
        curves={label: curve for label, curve in curves(tables["fits"]).items() if label in labels},
        multipliers=multipliers.assign(target=multipliers["target_compute_flops"]),
        arrow=headline_variant(tables["multipliers"], results.study.variants),
        report_labels=tuple(_labels(results)),
        apart=apart_somewhere(results.finished, results.study.baseline),
    )
    base = label_title(results.study.baseline)
    caption = (
        "Each point is one run; lines are power laws that share one exponent. The arrow leads from"
        f" a variant's curve to {base}'s at the same loss: its length is the compute multiplier."
        f" Below, each run's loss read on {base}'s curve: the compute that {base} would need, over"
        " the run's own. Shaded: the 95% interval of the multiplier, where there is one"
        f"{'' if len(scaling.labels) <= MOST_BANDS else ' (of the arrow alone)'}; it may reach"
        " beyond the panel."
        if scaling.curves
        else "Each point is one run. The runs bear no fitted curve."
    ) + shared_names(scaling.labels)
    if left_out:
        caption += f" Not drawn: labels that ran at too few sizes for a curve ({len(left_out)})."
    caption += _beyond(scaling)
    alt = "Validation loss over training compute. " + words.headline(
        results, tables["multipliers"], scaling.arrow
    )
    figure = Figure("scaling", "Loss over compute", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_scaling(scaling, theme),
        folder,
        lambda: scaling_chart(scaling, tables["losses"], timed),
    )


def _beyond(scaling: Scaling) -> str:
    """What a caption says of runs that the lower panel does not show."""
    found = [f"{label_title(label)} ({n})" for label, n in beyond_panel(scaling).items()]
    return f" Runs beyond the lower panel: {listed(found)}." if found else ""


def _with_curves(results: Results, multipliers: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The labels of the scaling figure, and those left out for want of sizes.

    None is left out where no label has a curve.
    """
    known = {results.study.baseline, *multipliers.dropna(subset=["multiplier"])["variant"]}
    labels = _labels(results)
    if len(known) == 1:
        return labels, []
    return [label for label in labels if label in known], [
        label for label in labels if label not in known and label in set(results.finished["label"])
    ]


def _timed(results: Results, tables: Tables) -> Scaling | None:
    """Loss over calibrated seconds; None where no variant has a multiplier over them."""
    arrow = headline_variant(tables["time_multipliers"], results.study.variants)
    if arrow is None:
        return None
    multipliers = of_model(tables["time_multipliers"])
    points = over_seconds(results.finished, tables["step_times"])
    labels, _ = _with_curves(results, multipliers)
    fitted = curves(tables["time_fits"], SECONDS_AXIS.unit)
    return Scaling(
        labels=labels,
        baseline=results.study.baseline,
        points=points.loc[points["label"].isin(labels), ["run", "label", "compute", "loss"]],
        curves={label: curve for label, curve in fitted.items() if label in labels},
        multipliers=multipliers.assign(target=multipliers["target_seconds"]),
        arrow=arrow,
        axis=SECONDS_AXIS,
        report_labels=tuple(_labels(results)),
        apart=apart_somewhere(results.finished, results.study.baseline),
    )


def _time_scaling(
    results: Results, tables: Tables, scaling: Scaling | None, folder: Path
) -> Figure | None:
    if scaling is None:
        return None
    caption = (
        "The same runs and fits with time in the place of FLOPs: a run's tokens times the"
        " calibrated seconds per token of its variant and size. To be read as the figure over"
        f" compute. {words_time.machine_sentence(results)}{_beyond(scaling)}"
    )
    alt = "Validation loss over training time. " + " ".join(
        words_time.multiplier_sentences(results, tables["time_multipliers"])
    )
    figure = Figure("time_scaling", "Loss over time", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_scaling(scaling, theme),
        folder,
        lambda: scaling_chart(scaling, tables["losses"]),
    )


def _multipliers(results: Results, tables: Tables, folder: Path) -> Figure | None:
    rows = multiplier_rows(tables["multipliers"], tables["time_multipliers"])
    if rows.empty:
        return None
    timed = not of_model(tables["time_multipliers"]).dropna(subset=["multiplier"]).empty
    if rows["variant"].nunique() > MOST_CHECKED:
        rows = rows[rows["main"]]
    published = PRINTED_MULTIPLIER if PUBLISHED_VARIANT in set(rows["variant"]) else None
    findings = [
        f"{label_title(row['variant'])}"
        f"{' ' + row['model'] if row['model'] in (AT_EQUAL_TIME, OVER_OWN) else ''}"
        f" {row['multiplier']:.2f}"
        + (f" ({words.interval(row)})" if has_interval(row) else " (no interval)")
        for _, row in rows[rows["main"]].iterrows()
    ]
    caption = (
        "Dots are estimates, bars 95% intervals; an open dot has no interval, and a bar that ends"
        " in a triangle goes on. The row with a variant's name is the result (one exponent for"
        " all variants)"
        + ("; under it, the result at equal time in the place of equal FLOPs" if timed else "")
        + (
            "; under a label at its own rate, the result over the baseline at its own"
            if OVER_OWN in set(rows["model"])
            else ""
        )
        + ("." if rows["main"].all() else "; rows under it: the same runs under other models.")
    )
    alt = f"Compute multipliers over {label_title(results.study.baseline)}: "
    figure = Figure("multipliers", "Compute multipliers", caption, alt + listed(findings) + ".")
    return save_figure(
        figure,
        lambda theme: draw_multipliers(rows, published, theme, _labels(results)),
        folder,
        lambda: multipliers_chart(rows, published, _labels(results)),
    )


def _scores(results: Results, tables: Tables, folder: Path) -> Figure | None:
    scores = primary_scores(tables["benchmarks"])
    # Tasks of so many steps have a figure of their own.
    scores = scores[~scores["task"].isin(tables["steps"]["task"])]
    if scores.empty:
        return None
    # One size a figure: the largest that was scored.
    size = [name for name in results.study.sizes if name in set(scores["size"])][-1]
    scores = scores[scores["size"] == size]
    judged = scores["differs_from_chance"].dropna()
    alt = (
        f"Scores of {counted(scores['task'].nunique(), 'benchmark')} at size {size}:"
        f" {int(judged.astype(bool).sum())} of {len(judged)} intervals exclude chance."
    )
    caption = (
        f"Size {size}, mean over seeds. Bars are 95% intervals over questions, the dashed line is"
        " what guessing scores; an open dot has no interval. Differences between two variants are"
        " paired, so their intervals are narrower than these bars suggest."
    )
    figure = Figure("benchmarks", "Benchmark scores", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_scores(scores, _labels(results), theme),
        folder,
        lambda: scores_chart(scores, _labels(results)),
    )


def _paired(results: Results, tables: Tables, folder: Path) -> Figure | None:
    table = tables["paired"]
    if table.empty:
        return None
    size = words_paired.largest_scored(results, table)
    rows = table[table["size"] == size]
    units = {metric: unit for metric, unit in PAIRED_UNITS.items() if metric in set(rows["metric"])}
    rows = rows[rows["metric"].isin(units)]
    if rows.empty:
        return None
    base = results.study.baseline
    caption = (
        f"Size {size}. Each question's score by a variant minus {label_title(base)}'s by the run of"
        " the same seed. Thick bars are 95% intervals over questions, for these very models; thin"
        " ones count seeds too, and an open dot has none of those. Accuracy: right of 0 is better;"
        " bits per byte: left of 0 is better."
    )
    alt = " ".join(words_paired.paired_sentences(results, table, tables["mcnemar"])[:2])
    figure = Figure("paired", "Paired differences on benchmarks", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_paired(rows, _labels(results), base, units, theme),
        folder,
        lambda: paired_chart(rows, _labels(results), base, units),
    )


def _task_scaling(results: Results, tables: Tables, folder: Path) -> Figure | None:
    table = tables["task_scaling"]
    rows = table[table["metric"] == GOLD_BITS]
    if rows["size"].nunique() < 2:
        return None
    caption = (
        "Bits per byte of the right choice, lower is better; mean over seeds with Student's 95%"
        " intervals over seeds."
    )
    alt = " ".join(words_paired.task_scaling_sentences(tables["task_multipliers"]))
    figure = Figure("task_scaling", "Benchmarks over compute", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_task_scaling(rows, _labels(results), theme),
        folder,
        lambda: task_scaling_chart(rows, _labels(results)),
    )


def _steps(results: Results, tables: Tables, folder: Path) -> Figure | None:
    table = tables["steps"]
    if table.empty:
        return None
    size = words_paired.largest_scored(results, table)
    rows = table[(table["size"] == size) & (table["metric"] == "acc")]
    if rows.empty:
        return None
    caption = (
        f"Size {size}, mean over seeds; bars are 95% intervals over questions. The dashed line is"
        " what guessing scores. Variants stand side by side at each k."
    )
    alt = " ".join(words_paired.steps_sentences(rows))
    figure = Figure("steps", "Accuracy over reasoning steps", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_steps(rows, _labels(results), theme),
        folder,
        lambda: steps_chart(rows, _labels(results)),
    )


def _differences(results: Results, tables: Tables, folder: Path) -> Figure | None:
    rows = at_largest_size(results, tables["differences"])
    if rows.empty:
        return None
    families = {
        label: VARIANTS[results.study.label(label).variant].family for label in rows["variant"]
    }
    rows["family"] = rows["variant"].map(families)
    rows = rows.sort_values("family", key=lambda names: names.map(FAMILIES.index))
    base = results.study.baseline
    caption = (
        f"Size {rows['size'].iloc[0]}, mean over seeds, each paired with {label_title(base)}'s run"
        " of the same seed. Thick bars are 95% intervals with one noise pooled over all variants,"
        " thin ones hold for all variants at once; an open dot has no interval, and a triangle at"
        " the edge stands for the number beside it."
        f"{' At one learning rate for all.' if words.one_rate(results.study) else ''}"
        + (
            " Time and memory were read off the runs, beside whatever else the processor did."
            if results.calibration is None
            else " Time is calibrated, memory was read off the runs."
        )
    )
    alt = difference_headline(results, tables["differences"]) or (
        f"Differences to {label_title(base)} of {counted(len(rows), 'variant')}, without intervals."
    )
    figure = Figure("differences", f"Against {label_title(base)}", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_differences(rows, _labels(results), base, theme),
        folder,
        lambda: differences_chart(rows, _labels(results), base),
    )


def _training(results: Results, folder: Path) -> Figure | None:
    if results.curves.empty:
        return None
    largest = results.finished.sort_values("flops")["size"].iloc[-1]
    metrics = results.curves[results.curves["size"] == largest]
    smooth = smoothed_curves(metrics, _labels(results))
    if smooth.empty:
        return None
    baseline = results.study.baseline
    window = smoothing_window(metrics.groupby("run").size().max())
    smoothing = f" and over {window} neighbouring logged steps" if window > 1 else ""
    caption = (
        f"Size {largest}, mean over finished seeds{smoothing}."
        f" Below, the loss minus {label_title(baseline)}'s on the same batches: negative is"
        f" better.{shared_names(list(map(str, smooth.columns)))}"
    )
    alt = words.training_finding(smooth.iloc[-1], baseline, largest)
    figure = Figure("training", "Training loss", caption, alt)
    return save_figure(
        figure,
        lambda theme: draw_training(metrics, _labels(results), baseline, theme),
        folder,
        lambda: training_chart(smooth, _labels(results), baseline),
    )


def _speed(results: Results, tables: Tables, folder: Path) -> Figure | None:
    cells, times = tables["cells"], tables["step_times"]
    rows = speed_rows(results, cells, times)
    # At one size the figure of differences has it all.
    if rows["size"].nunique() < 2:
        return None
    alt = " ".join(speed_findings(results, cells, times)) or "Baseline only."
    figure = Figure("speed", "Training speed", speed_caption(times, results.study.baseline), alt)
    # Sizes of one budget have much the same parameters.
    over = "n_layers" if is_over_shapes(results.study) else "parameters"
    return save_figure(
        figure, lambda theme: draw_speed(rows, _labels(results), theme, over), folder
    )
