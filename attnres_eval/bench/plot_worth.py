"""Which variant is worth its price: loss minus PreNorm's over what its training step costs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from attnres_eval.report.plot_scaling import WIDTH
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import Style, Theme, label_title, styles, themed

FAR = 4.0
"""A difference beyond this many times the third quartile is drawn at the edge, as a number."""
COLUMNS = 2
TICKS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
LETTER, LINE = 5.6, 12.0
"""Points of width and height that a letter of a name takes."""
LED = (22.0, 36.0, 50.0, 64.0, 78.0, 92.0)
"""Distances of names that a line leads to."""
GAP = 8.0
"""Points between a marker and its name."""

Box = tuple[float, ...]
"""Left, bottom, right and top, in points."""


def draw_worth(points: pd.DataFrame, labels: Sequence[str], where: str, theme: Theme) -> Figure:
    """A panel a family, all on the same axes; the other families' points stand behind in grey.

    Args:
        points: variant, family, step_time (over PreNorm's), difference (nats per token), ci_low,
            ci_high; one row a label.
        labels: all labels of the study, so that colours are those of its own figures.
        where: at which size the step was timed, for the axis.
        theme: light or dark.
    """
    families = list(dict.fromkeys(points["family"]))
    rows = -(-len(families) // COLUMNS)
    with themed(theme):
        looks = styles(labels, theme)
        figure = Figure(figsize=(WIDTH, 3.5 * rows + 0.5))
        grid = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
        low, high = _range(points)
        for index, axes in enumerate(grid.flat):
            if index >= len(families):
                axes.set_visible(False)
                continue
            own = points["family"] == families[index]
            _axes(axes, points, (low, high), theme)
            _panel(axes, points[own], points[~own], looks, theme, (low, high))
            axes.set_title(families[index].capitalize(), loc="left", fontsize=10)
        figure.draw_without_rendering()
        for index, family in enumerate(families):
            _names(grid.flat[index], points[points["family"] == family], (low, high), theme)
        figure.supxlabel(f"Time of a training step over PreNorm's ({where})", fontsize=11)
        figure.supylabel("Loss minus PreNorm's (nats per token)", fontsize=11)
        return figure


def _range(points: pd.DataFrame) -> tuple[float, float]:
    size = points["difference"].abs()
    near = points[size <= FAR * size.quantile(0.75)]
    columns = ["difference", "ci_low", "ci_high"]
    ends = np.append(near[columns].to_numpy(np.float64).ravel(), 0.0)
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + 2 * margin


def _axes(axes: Axes, points: pd.DataFrame, ends: tuple[float, float], theme: Theme) -> None:
    axes.set_xscale("log")
    least, most = min(1.0, points["step_time"].min()), max(1.1, points["step_time"].max())
    axes.set_xlim(least / 1.06, most * 1.25)
    axes.set_ylim(*ends)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if least <= tick <= most]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axhline(0, color=theme.quiet, linewidth=1.4, zorder=1)
    axes.axvline(1, color=theme.quiet, linewidth=1.4, zorder=1)


def _place(row: pd.Series, ends: tuple[float, float]) -> tuple[float, float, bool]:
    """Where a point is drawn, and whether it lies beyond the axes."""
    low, high = ends
    inside = min(max(row["difference"], low), high)
    return float(row["step_time"]), float(inside), bool(inside != row["difference"])


def _panel(
    axes: Axes,
    own: pd.DataFrame,
    others: pd.DataFrame,
    looks: dict[str, Style],
    theme: Theme,
    ends: tuple[float, float],
) -> None:
    for _, row in others.iterrows():
        x, y, far = _place(row, ends)
        if not far:
            axes.plot([x], [y], marker="o", markersize=4, color=theme.quiet, alpha=0.35, zorder=1)
    for _, row in own.iterrows():
        look, label = looks[row["variant"]], row["variant"]
        x, y, far = _place(row, ends)
        if far:
            up = row["difference"] > 0
            axes.plot(
                [x],
                [y],
                marker="^" if up else "v",
                color=look.colour,
                clip_on=False,
                gid=f"far-{label}",
            )
            continue
        sure = has_interval(row)
        if sure:
            axes.plot(
                [x, x],
                [row["ci_low"], row["ci_high"]],
                color=look.colour,
                linewidth=1.6,
                gid=f"interval-{label}",
            )
        axes.plot(
            [x],
            [y],
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markerfacecolor=look.colour if sure else theme.page,
            gid=f"worth-{label}",
            zorder=3,
        )


def _names(axes: Axes, own: pd.DataFrame, ends: tuple[float, float], theme: Theme) -> None:
    """Each name beside its point, where nothing else is in the way; a thin line leads to others."""
    root = axes.get_figure(root=True)
    assert root is not None
    scale = 72 / root.dpi

    def spot(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y)) * scale
        return float(across), float(up)

    panel = tuple(float(value * scale) for value in axes.get_window_extent().extents)
    taken: list[Box] = []
    for _, row in own.iterrows():
        x, y, far = _place(row, ends)
        across, up = spot(x, y)
        taken.append((across - 5, up - 5, across + 5, up + 5))
        if has_interval(row) and not far:
            low, high = spot(x, row["ci_low"])[1], spot(x, row["ci_high"])[1]
            taken.append((across - 1.5, low, across + 1.5, high))
    for _, row in own.sort_values("difference", ascending=False).iterrows():
        x, y, far = _place(row, ends)
        text = label_title(row["variant"]) + (f" {row['difference']:+.2f}" if far else "")
        dx, dy, box = _free(spot(x, y), LETTER * len(text), taken, panel)
        taken.append(box)
        right = dx > 0
        axes.annotate(
            text,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=9.5,
            color=theme.text,
            bbox={"facecolor": theme.page, "linewidth": 0, "pad": 0.8},
            arrowprops={
                "arrowstyle": "-",
                "color": theme.quiet,
                "linewidth": 0.8,
                "relpos": (0.0 if right else 1.0, 0.5),
                "shrinkA": 0,
                "shrinkB": 3,
            }
            if abs(dx) > GAP or abs(dy) > LINE / 2
            else None,
            gid=f"name-{row['variant']}",
            zorder=4,
        )


def _free(
    at: tuple[float, float], width: float, taken: Sequence[Box], panel: Box
) -> tuple[float, float, Box]:
    """The offset of a name's near end that hides least, the nearest of those, and its box."""
    found = []
    for dx in (GAP, *LED, -GAP, *(-led for led in LED)):
        for step in range(-16, 17):
            dy = step * LINE / 4
            if abs(dx) == GAP and LINE / 2 < abs(dy) < LINE:
                continue  # too near for a line, too far for none
            left = at[0] + (dx if dx > 0 else dx - width)
            box = (left, at[1] + dy - LINE / 2, left + width, at[1] + dy + LINE / 2)
            outside = max(panel[0] - box[0], box[2] - panel[2], 0.0)
            outside += max(panel[1] - box[1], box[3] - panel[3], 0.0)
            hidden = sum(_overlap(box, other) for other in taken)
            # Names on the left are the exception: a reader looks for them on the right.
            far = abs(dx) + 1.5 * abs(dy) + (0 if dx > 0 else 2 * GAP)
            found.append((100 * outside + 10 * hidden + far, dx, dy, box))
    _, dx, dy, box = min(found)
    return dx, dy, box


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
