"""Losses over a dial: the number of blocks of a model, or an option of a residual."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from attnres_eval.report.plot_differences import signed
from attnres_eval.report.plot_scaling import (
    WIDTH,
    draw_line,
    draw_upright_intervals,
    legend_columns,
    legend_inches,
)
from attnres_eval.report.style import Style, Theme, label_title, styles, themed

NUDGE = 0.035
"""How far neighbouring curves stand apart, in doublings of the dial."""


def draw_over(
    rows: pd.DataFrame,
    labels: Sequence[str],
    baseline: str,
    dial: str,
    theme: Theme,
    level: float | None = None,
) -> Figure:
    """Mean loss over a dial, and beside it the difference to the baseline with its interval.

    Bars beside a loss reach from the least to the greatest of a seed.

    Args:
        rows: variant, x, nats_per_token, nats_low, nats_high, difference, ci_low, ci_high.
        labels: what is drawn, in order.
        baseline: what differences are to.
        dial: name of the axis.
        theme: light or dark.
        level: the baseline's loss where it has no dial.
    """
    with themed(theme):
        looks = styles([baseline, *labels], theme)
        named = len(labels) + (level is not None)
        figure = Figure(figsize=(WIDTH, 3.1 + legend_inches(named)))
        left, right = figure.subplots(1, 2)
        for place, label in enumerate(labels):
            own = rows[rows["variant"] == label].sort_values("x")
            x = own["x"] * 2 ** (NUDGE * (place - (len(labels) - 1) / 2))
            draw_line(left, x, own["nats_per_token"], looks[label], label, "over")
            _seeds(left, x, own, looks[label])
            paired = own["difference"].notna()
            if paired.any():
                draw_line(
                    right, x[paired], own["difference"][paired], looks[label], label, "difference"
                )
                draw_upright_intervals(right, x, own, looks[label])
        if level is not None:
            look = looks[baseline]
            left.axhline(level, color=look.colour, linewidth=1.4, label=label_title(baseline))
        right.axhline(0, color=looks[baseline].colour, linewidth=1.4, zorder=1)
        right.yaxis.set_major_formatter(FuncFormatter(signed))
        left.set_ylabel("Validation loss (nats per token)")
        right.set_ylabel(f"Minus {label_title(baseline)}'s")
        for axes in (left, right):
            _dial(axes, sorted(set(rows["x"])), dial)
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=legend_columns(len(names)))
        return figure


def _seeds(axes: Axes, x: pd.Series, own: pd.DataFrame, look: Style) -> None:
    for place, low, high in zip(x, own["nats_low"], own["nats_high"], strict=True):
        axes.plot([place, place], [low, high], color=look.colour, linewidth=1.2)


def _dial(axes: Axes, values: list[float], dial: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(values[0] / 1.2, values[-1] * 1.2)
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(dial)
