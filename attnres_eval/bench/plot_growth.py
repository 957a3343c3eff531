"""Growth as small multiples: step time, the residual's own part of it, and peak memory."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from attnres_eval.bench.rows import Row
from attnres_eval.report.plot_scaling import WIDTH
from attnres_eval.report.style import Style, Theme, label_title, styles, themed


def draw_growth(
    panels: Sequence[Sequence[Sequence[Row]]],
    titles: Sequence[str],
    axes_names: Sequence[str],
    theme: Theme,
) -> Figure:
    """Log-log panels; upright bars are interquartile ranges.

    Args:
        panels: rows of panels, each with the points of one quantity along one ladder.
        titles: what each row of panels shows, with its unit.
        axes_names: what each column runs along.
        theme: light or dark.
    """
    labels = list(dict.fromkeys(row.variant for line in panels for panel in line for row in panel))
    names = [label for label in labels if label is not None]
    with themed(theme):
        looks = styles(names, theme)
        figure = Figure(figsize=(WIDTH, 2.45 * len(panels) + 0.8))
        grid = figure.subplots(len(panels), len(axes_names), squeeze=False, sharex="col")
        for line, title, shown in zip(panels, titles, grid, strict=True):
            for points, axes in zip(line, shown, strict=True):
                _panel(axes, points, names, looks)
            shown[0].set_ylabel(title)
        for axes, name in zip(grid[-1], axes_names, strict=True):
            axes.set_xlabel(name)
        handles = {}
        for axes in grid.flat:
            found = zip(*axes.get_legend_handles_labels(), strict=True)
            handles.update({name: handle for handle, name in found})
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper center",
            ncols=3,
        )
        return figure


def _panel(
    axes: Axes, points: Sequence[Row], names: Sequence[str], looks: dict[str, Style]
) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for name in names:
        own = [
            (row.at, row.value, (row.spread or 0.0) / 2)
            for row in points
            if row.variant == name and row.at and row.value and row.value > 0
        ]
        if not own:
            continue
        look = looks[name]
        axes.plot(
            [x for x, _, _ in own],
            [y for _, y, _ in own],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markersize=5.5,
            label=label_title(name),
            gid=f"growth-{name}",
        )
        for x, y, half in own:
            ends = [max(y - half, y / 20), y + half]
            axes.plot([x, x], ends, color=look.colour, linewidth=1.5, gid=f"spread-{name}")
    ticks = sorted({row.at for row in points if row.at is not None})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", labelsize=9, rotation=45 if len(ticks) > 5 else 0)
    low, high = axes.get_ylim()
    if high < 10 * low:
        # Powers of ten alone would leave such a panel with one number, or none.
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
