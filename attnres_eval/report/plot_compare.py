"""Figures that set the variants side by side: multipliers, benchmark scores, speed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from attnres_eval.report.plot_scaling import (
    WIDTH,
    draw_line,
    draw_upright_intervals,
    legend_columns,
    legend_inches,
)
from attnres_eval.report.select import AT_EQUAL_TIME, OVER_OWN, has_interval
from attnres_eval.report.style import Style, Theme, drawn_name, label_title, points, styles, themed

WIDEST = 8.0
"""The multiplier axis ends at this factor; an interval that goes on ends in an arrow head."""
MOST_OF_MEDIAN = 4.0
"""An interval wider than so many median ones, in log, does not widen the axis."""
PANEL_COLUMNS = 2


def draw_multipliers(
    multipliers: pd.DataFrame, published: float | None, theme: Theme, labels: Sequence[str]
) -> Figure:
    """Multipliers as dots with 95% intervals; without an interval an open dot and no bar.

    Args:
        multipliers: variant, row (the text beside the dot), main (whether the row is a result or
            a check of one, drawn smaller), multiplier, ci_low, ci_high.
        published: the published multiplier, drawn as a line; None draws no line.
        theme: light or dark.
        labels: all labels of the report, so that colours are those of the other figures.
    """
    known = multipliers.dropna(subset=["multiplier"]).reset_index(drop=True)
    with themed(theme):
        looks = styles(labels, theme)
        figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(known)))
        axes = figure.subplots()
        low, high = multiplier_range(known, published)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        for place, row in known.iterrows():
            look = looks[row["variant"]]
            size = 9.0 if row["main"] else 6.0
            _dot(axes, row, "multiplier", float(str(place)), look, theme, size)
            _runs_on(axes, row, float(str(place)), look, low, high)
        _reference(axes, 1.0, "no saving", "-", theme)
        if published is not None:
            _reference(axes, published, f"published {published:g}×", (0, (4, 3)), theme)
        axes.set_yticks(range(len(known)), [str(name) for name in known["row"]])
        for tick, main in zip(axes.get_yticklabels(), known["main"], strict=True):
            bold = main and tick.get_text() not in (AT_EQUAL_TIME, OVER_OWN)
            tick.set_fontweight("bold" if bold else "normal")
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        ticks = np.array([0.125, 0.25, 0.5, 1, 2, 4, 8])
        if high / low <= 4:
            ticks = np.asarray(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
        axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Compute multiplier (above 1: a saving)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.3)
        return figure


def multiplier_range(known: pd.DataFrame, published: float | None) -> tuple[float, float]:
    """The ends of the multiplier axis: all dots, and the intervals, up to `WIDEST`.

    An interval that is several times as wide as the median one does not widen it.
    """
    wide = pd.Series(np.log((known["ci_high"] / known["ci_low"]).astype(float)))
    shown = known[wide <= MOST_OF_MEDIAN * wide.median()]
    ends = [1.0, *known["multiplier"], *shown["ci_low"], *shown["ci_high"]]
    ends += [] if published is None else [published]
    return max(min(ends) / 1.06, 1 / WIDEST), min(max(ends) * 1.06, WIDEST)


def _dot(
    axes: Axes,
    row: pd.Series,
    column: str,
    place: float,
    look: Style,
    theme: Theme,
    size: float = 8.0,
) -> None:
    interval = has_interval(row)
    if interval:
        axes.plot(
            [row["ci_low"], row["ci_high"]],
            [place, place],
            color=look.colour,
            linewidth=size / 3.6,
            solid_capstyle="butt",
            gid=f"interval-{row['variant']}",
        )
    axes.plot(
        [row[column]],
        [place],
        linestyle="none",
        marker=look.marker,
        markersize=size,
        color=look.colour,
        markerfacecolor=look.colour if interval else theme.page,
        markeredgewidth=1.6,
        gid=f"dot-{row['variant']}",
        zorder=3,
    )


def _runs_on(
    axes: Axes, row: pd.Series, place: float, look: Style, low: float, high: float
) -> None:
    if not has_interval(row):
        return
    for beyond, edge, marker in (
        (row["ci_low"] < low, low, "<"),
        (row["ci_high"] > high, high, ">"),
    ):
        if beyond:
            axes.plot(
                [edge], [place], marker=marker, color=look.colour, markersize=9, clip_on=False
            )


def _reference(
    axes: Axes,
    value: float,
    name: str,
    line: str | tuple[int, tuple[float, ...]],
    theme: Theme,
) -> None:
    axes.axvline(value, color=theme.quiet, linestyle=line, linewidth=1.4, label=name, zorder=1)


def draw_scores(scores: pd.DataFrame, labels: Sequence[str], theme: Theme) -> Figure:
    """Benchmark scores with 95% intervals, a panel a task, and the chance line of each.

    Args:
        scores: task, size, variant, metric, n_questions, score, ci_low, ci_high, chance; one size.
        labels: all labels of the report, in drawing order; those without a score are left out.
        theme: light or dark.
    """
    shown = [label for label in labels if label in set(scores["variant"])]
    tasks = list(dict.fromkeys(scores["task"]))
    columns = min(PANEL_COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    with themed(theme):
        looks = styles(labels, theme)
        height = rows * (1.15 + 0.3 * len(shown)) + 0.4
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for panel, axes in enumerate(grid.flat):
            if panel >= len(tasks):
                axes.set_visible(False)
                continue
            own = scores[scores["task"] == tasks[panel]]
            _score_panel(axes, own, shown, looks, theme)
            if panel + columns >= len(tasks):
                axes.set_xlabel("Score (fraction of questions)")
        handles, names = grid[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles[:1], names[:1], loc="outside upper right")
        return figure


def _score_panel(
    axes: Axes, scores: pd.DataFrame, labels: Sequence[str], looks: dict[str, Style], theme: Theme
) -> None:
    first = scores.iloc[0]
    for _, row in scores.iterrows():
        _dot(axes, row, "score", float(labels.index(row["variant"])), looks[row["variant"]], theme)
    chance = scores["chance"].dropna()
    if len(chance):
        _reference(axes, float(chance.iloc[0]), "chance", (0, (4, 3)), theme)
    axes.set_title(
        drawn_name(f"{first['task']}\n{first['metric']}, {int(first['n_questions']):,} questions")
    )
    axes.title.set_fontsize(points(10))
    axes.set_yticks(range(len(labels)), [label_title(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def draw_speed(
    speeds: pd.DataFrame, labels: Sequence[str], theme: Theme, over: str = "parameters"
) -> Figure:
    """Training speed over the baseline's at the same size, a line a variant.

    Args:
        speeds: variant, `over`, relative_speed, ci_low, ci_high; one row a variant and size.
        labels: all labels of the report, in drawing order; those without a speed are left out.
        theme: light or dark.
        over: the column on the horizontal axis, `parameters` or `n_layers`.
    """
    shown = [label for label in labels if label in set(speeds["variant"])]
    with themed(theme):
        looks = styles(labels, theme)
        figure = Figure(figsize=(WIDTH, 3.8 + legend_inches(len(shown))))
        axes = figure.subplots()
        for label in shown:
            own = speeds[speeds["variant"] == label].sort_values(over)
            draw_line(axes, own[over], own["relative_speed"], looks[label], label, "speed")
            draw_upright_intervals(axes, own[over], own, looks[label])
        axes.set_xscale("log")
        sizes = sorted({int(value) for value in speeds[over]})
        _size_ticks(axes, sizes, near=1.15 if over == "parameters" else 1.0)
        top = np.nanmax(speeds[["relative_speed", "ci_high"]].to_numpy(np.float64))
        axes.set_ylim(0, max(1.05, float(top) * 1.08))
        axes.set_xlabel("Parameters" if over == "parameters" else "Blocks (log scale)")
        axes.set_ylabel("Tokens per second,\nbaseline = 1")
        figure.legend(loc="outside upper center", ncols=legend_columns(len(shown)))
        return figure


def _size_ticks(axes: Axes, sizes: Sequence[int], near: float) -> None:
    """One tick a size; parameters of one size differ by a factor below `near`."""
    ticks: list[int] = []
    for value in sizes:
        if not ticks or value > ticks[-1] * near:
            ticks.append(value)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def short_count(value: float) -> str:
    """A count in three digits: 129k, 4.72M, 1.3B."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
