"""The figure of accuracy over the number of reasoning steps."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from attnres_eval.report.plot_scaling import (
    WIDTH,
    draw_line,
    draw_upright_intervals,
    legend_columns,
    legend_inches,
)
from attnres_eval.report.style import Style, Theme, drawn_name, styles, themed

PANEL_COLUMNS = 2
SPREAD = 0.24
"""How far the variants of one number of steps stand apart, in steps' places, all together."""


def draw_steps(steps: pd.DataFrame, labels: Sequence[str], theme: Theme) -> Figure:
    """Accuracy over steps, a panel a family, with 95% intervals and the level of guessing.

    Args:
        steps: family, steps, variant, score, ci_low, ci_high, chance; one size.
        labels: in drawing order.
        theme: light or dark.
    """
    families = list(dict.fromkeys(steps["family"]))
    columns = min(PANEL_COLUMNS, len(families))
    rows = -(-len(families) // columns)
    with themed(theme):
        looks = styles(labels, theme)
        figure = Figure(figsize=(WIDTH, 2.5 * rows + 0.5 + legend_inches(len(labels) + 1)))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for panel, axes in enumerate(grid.flat):
            if panel >= len(families):
                axes.set_visible(False)
                continue
            _panel(axes, steps[steps["family"] == families[panel]], labels, looks, theme)
            axes.set_title(drawn_name(families[panel]))
            if panel + columns >= len(families):
                axes.set_xlabel("Steps k")
            if panel % columns == 0:
                axes.set_ylabel("Accuracy")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=legend_columns(len(names)))
        return figure


def _panel(
    axes: Axes, own: pd.DataFrame, labels: Sequence[str], looks: dict[str, Style], theme: Theme
) -> None:
    values = sorted(set(own["steps"]))
    # Steps stand at equal distances, whatever lies between them.
    places = {k: place for place, k in enumerate(values)}
    for index, label in enumerate(labels):
        part = own[own["variant"] == label].sort_values("steps")
        shift = SPREAD * (index / max(1, len(labels) - 1) - 0.5)
        x = [places[k] + shift for k in part["steps"]]
        draw_line(axes, x, part["score"], looks[label], label, "steps")
        draw_upright_intervals(axes, x, part, looks[label])
    chance = own.groupby("steps")["chance"].mean().reindex(values).fillna(0.0)
    axes.plot(
        range(len(values)),
        chance,
        color=theme.quiet,
        linestyle=(0, (4, 3)),
        linewidth=1.4,
        label="chance",
        zorder=1,
    )
    axes.set_ylim(0, 1.03)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(values)))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(k) for k in values])
