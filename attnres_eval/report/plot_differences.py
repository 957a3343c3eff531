"""Every variant against the baseline at one size: what it gains in loss, what it costs to run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from attnres_eval.report.plot_scaling import WIDTH
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import Style, Theme, label_title, points, styles, themed

FAR = 4.0
"""A difference beyond this many times the third quartile is drawn at the edge, as a number."""
ROW_INCHES = 0.26


def draw_differences(
    differences: pd.DataFrame, labels: Sequence[str], baseline: str, theme: Theme
) -> Figure:
    """Loss minus the baseline's with intervals; beside it step time and peak memory.

    Thick bars are a variant's own 95% interval, thin ones hold for all variants at once. Variants
    stand by family in the order given, the best of each first.

    Args:
        differences: variant, family, difference, ci_low, ci_high, ci_low_all, ci_high_all,
            relative_step_time, relative_peak_memory; one size, no missing difference.
        labels: all labels of the report, so that colours are those of the other figures.
        baseline: the label that the others are compared with.
        theme: light or dark.
    """
    rows = differences.sort_values("difference")
    families = list(dict.fromkeys(differences["family"]))
    with themed(theme):
        looks = styles(labels, theme)
        n_lines = len(rows) + (len(families) if len(families) > 1 else 0)
        figure = Figure(figsize=(WIDTH, 1.35 + ROW_INCHES * n_lines))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.7, 1])
        low, high = shown_range(rows)
        left.set_xlim(low, high)
        names: list[str] = []
        for family in families:
            if len(families) > 1:
                _heading(left, family, len(names), theme)
                names.append("")
            for _, row in rows[rows["family"] == family].iterrows():
                look = looks[row["variant"]]
                _difference(left, row, len(names), look, theme, (low, high))
                _costs(right, row, len(names), look, theme)
                names.append(label_title(row["variant"]))
        for axes, middle in ((left, 0.0), (right, 1.0)):
            axes.axvline(middle, color=theme.quiet, linewidth=1.4, zorder=1)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.4, -0.6)
        left.xaxis.set_major_locator(MaxNLocator(5))
        left.xaxis.set_major_formatter(FuncFormatter(signed))
        right.xaxis.set_major_locator(MaxNLocator(4))
        right.margins(x=0.06)
        right.set_xlim(left=min(0.9, right.get_xlim()[0]))
        left.set_xlabel(f"Loss minus {label_title(baseline)}'s\n(nats per token; left is better)")
        right.set_xlabel(f"Over {label_title(baseline)}'s\n(left is cheaper)")
        handles = [
            Line2D([], [], linestyle="none", marker="o", color=theme.text, label="time a step"),
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                color=theme.text,
                markerfacecolor=theme.page,
                label="peak memory",
            ),
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=2)
        return figure


def signed(value: float, _: object = None) -> str:
    """A difference as a tick: with its sign, 0 without."""
    return f"{value:+g}" if value else "0"


def _heading(axes: Axes, family: str, place: int, theme: Theme) -> None:
    """A family's name on a line of its own."""
    axes.text(
        0.015,
        place,
        family.capitalize(),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=points(10),
        fontstyle="italic",
        color=theme.quiet,
        bbox={"facecolor": theme.page, "linewidth": 0, "pad": 1.5},
        zorder=2,
    )


def shown_range(rows: pd.DataFrame) -> tuple[float, float]:
    """The ends of the panel of losses: all intervals but those far from the rest."""
    size = rows["difference"].abs()
    near = rows[size <= FAR * size.quantile(0.75)]
    columns = ["difference", "ci_low", "ci_high", "ci_low_all", "ci_high_all"]
    ends = np.append(near[columns].to_numpy(np.float64).ravel(), 0.0)
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def _difference(
    axes: Axes, row: pd.Series, place: int, look: Style, theme: Theme, ends: tuple[float, float]
) -> None:
    low, high = ends
    value = row["difference"]
    if not low <= value <= high:
        edge, right = (high, True) if value > high else (low, False)
        axes.plot(
            [edge],
            [place],
            marker=">" if right else "<",
            color=look.colour,
            clip_on=False,
            gid=f"far-{row['variant']}",
        )
        axes.annotate(
            f"{value:+.2f}",
            (edge, place),
            xytext=(-9 if right else 9, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=points(10),
        )
        return
    sure = has_interval(row)
    for width, suffix in ((1.0, "_all"), (3.2, "")) if sure else ():
        axes.plot(
            [row[f"ci_low{suffix}"], row[f"ci_high{suffix}"]],
            [place, place],
            color=look.colour,
            linewidth=width,
            solid_capstyle="butt",
            gid=f"interval{suffix}-{row['variant']}",
        )
    axes.plot(
        [value],
        [place],
        linestyle="none",
        marker=look.marker,
        color=look.colour,
        markerfacecolor=look.colour if sure else theme.page,
        markeredgewidth=1.4,
        gid=f"difference-{row['variant']}",
        zorder=3,
    )


def _costs(axes: Axes, row: pd.Series, place: int, look: Style, theme: Theme) -> None:
    for column, fill in (("relative_step_time", look.colour), ("relative_peak_memory", theme.page)):
        axes.plot(
            [row[column]],
            [place],
            linestyle="none",
            marker="o",
            color=look.colour,
            markerfacecolor=fill,
            markeredgewidth=1.4,
            gid=f"{column}-{row['variant']}",
            zorder=3 if column == "relative_step_time" else 2,
        )
