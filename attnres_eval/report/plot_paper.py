"""The published downstream scores as differences with intervals."""

import pandas as pd
from matplotlib.figure import Figure

from attnres_eval.report.plot_scaling import WIDTH
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import Theme, styles, themed


def draw_downstream(table: pd.DataFrame, variant: str, theme: Theme) -> Figure:
    """Published differences in points; without a number of questions an open dot and no bar.

    Args:
        table: task, difference, ci_low, ci_high (percentage points); one row a task.
        variant: whose colour to draw in.
        theme: light or dark.
    """
    with themed(theme):
        look = styles([variant], theme)[variant]
        figure = Figure(figsize=(WIDTH, 1.1 + 0.3 * len(table)))
        axes = figure.subplots()
        for place, (_, row) in enumerate(table.iterrows()):
            known = has_interval(row)
            if known:
                axes.plot(
                    [row["ci_low"], row["ci_high"]],
                    [place, place],
                    color=look.colour,
                    linewidth=2.2,
                    solid_capstyle="butt",
                    gid=f"interval-{row['task']}",
                )
            axes.plot(
                [row["difference"]],
                [place],
                marker=look.marker,
                color=look.colour,
                markerfacecolor=look.colour if known else theme.page,
                markeredgewidth=1.6,
                zorder=3,
                gid=f"dot-{row['task']}",
            )
        axes.axvline(0, color=theme.quiet, linewidth=1.4, zorder=1)
        axes.set_yticks(range(len(table)), list(table["task"]))
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Block AttnRes minus baseline (percentage points)")
        return figure
