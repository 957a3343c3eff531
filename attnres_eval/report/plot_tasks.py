"""Figures of benchmarks: their bits per byte over compute, and paired differences."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from attnres_eval.report.plot_scaling import (
    WIDTH,
    draw_line,
    draw_upright_intervals,
    legend_columns,
    legend_inches,
)
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import Style, Theme, drawn_name, label_title, styles, themed

PANEL_COLUMNS = 2


def draw_task_scaling(scaling: pd.DataFrame, labels: Sequence[str], theme: Theme) -> Figure:
    """Bits per byte of the right choice over training compute, a panel a task.

    Args:
        scaling: task, variant, flops, score, ci_low, ci_high; one metric.
        labels: in drawing order.
        theme: light or dark.
    """
    tasks = list(dict.fromkeys(scaling["task"]))
    columns = min(PANEL_COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    with themed(theme):
        looks = styles(labels, theme)
        figure = Figure(figsize=(WIDTH, 2.4 * rows + 0.4 + legend_inches(len(labels))))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for panel, axes in enumerate(grid.flat):
            if panel >= len(tasks):
                axes.set_visible(False)
                continue
            _scaling_panel(axes, scaling[scaling["task"] == tasks[panel]], labels, looks)
            axes.set_title(drawn_name(tasks[panel]))
            if panel + columns >= len(tasks):
                axes.set_xlabel("Training compute (FLOPs)")
                axes.xaxis.set_tick_params(labelbottom=True)
            if panel % columns == 0:
                axes.set_ylabel("Gold bits per byte")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=legend_columns(len(names)))
        return figure


def _scaling_panel(
    axes: Axes, own: pd.DataFrame, labels: Sequence[str], looks: dict[str, Style]
) -> None:
    for label in labels:
        part = own[own["variant"] == label].sort_values("flops")
        draw_line(axes, part["flops"], part["score"], looks[label], label, "tasks")
        draw_upright_intervals(axes, part["flops"], part, looks[label])
    axes.set_xscale("log")
    # Sizes stand a small factor apart, too little for labels of their own.
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(5))


def draw_paired(
    paired: pd.DataFrame, labels: Sequence[str], baseline: str, units: dict[str, str], theme: Theme
) -> Figure:
    """Differences to the baseline by task, a panel a metric.

    Thick bars count questions, thin ones questions and seeds; without the latter the dot is open.

    Args:
        paired: task, variant, metric, difference, ci_low, ci_high, questions_ci_low,
            questions_ci_high; one size.
        labels: in drawing order; the baseline is not drawn.
        baseline: what the others are compared with.
        units: the label of the axis by metric; these metrics are drawn.
        theme: light or dark.
    """
    tasks = list(dict.fromkeys(paired["task"]))
    compared = [label for label in labels if label in set(paired["variant"])]
    step = 0.8 / max(1, len(compared))
    with themed(theme):
        looks = styles(labels, theme)
        inches = len(tasks) * (0.2 + 0.17 * len(compared))
        figure = Figure(figsize=(WIDTH, inches + 1.3 + legend_inches(len(compared))))
        grid = figure.subplots(1, len(units), squeeze=False, sharey=True)[0]
        for axes, (metric, unit) in zip(grid, units.items(), strict=True):
            own = paired[paired["metric"] == metric]
            for index, label in enumerate(compared):
                part = own[own["variant"] == label]
                shift = step * (index - (len(compared) - 1) / 2)
                for _, row in part.iterrows():
                    place = tasks.index(row["task"]) + shift
                    _difference(axes, row, place, looks[label], label, theme)
            axes.axvline(0, color=theme.quiet, linewidth=1.2, zorder=1)
            axes.set_xlabel(unit)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="y", visible=False)
        grid[0].set_yticks(range(len(tasks)), [drawn_name(task) for task in tasks])
        grid[0].set_ylim(len(tasks) - 0.5, -0.5)
        handles, names = grid[0].get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        figure.legend(
            unique.values(),
            unique.keys(),
            loc="outside upper center",
            ncols=legend_columns(len(unique)),
            title=f"minus {label_title(baseline)}",
        )
        return figure


def _difference(
    axes: Axes, row: pd.Series, place: float, look: Style, label: str, theme: Theme
) -> None:
    for low, high, width in (
        ("ci_low", "ci_high", 1.2),
        ("questions_ci_low", "questions_ci_high", 3.0),
    ):
        if has_interval(row, low, high):
            axes.plot([row[low], row[high]], [place] * 2, color=look.colour, linewidth=width)
    axes.plot(
        [row["difference"]],
        [place],
        linestyle="none",
        marker=look.marker,
        color=look.colour,
        markerfacecolor=look.colour if has_interval(row) else theme.page,
        label=label_title(label),
        gid=f"paired-{label}",
        zorder=3,
    )
