"""Magnitudes by depth: each sublayer's output, its gradient, and what skipping it costs."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from attnres_eval.analysis.depth import ATTENTION, EMBEDDING, MLP
from attnres_eval.report.plot_scaling import MOST_BANDS, WIDTH, legend_columns
from attnres_eval.report.style import Style, Theme, label_title, styles, themed

PANELS = {
    "output_rms": "RMS of the output",
    "gradient_rms": "RMS of the gradient\n(nats per element)",
    "skip_loss_change": "Loss when skipped,\nrise (nats per token)",
}
KINDS = {ATTENTION: "Attention sublayers", MLP: "MLP sublayers"}
LINEAR_UP_TO = 0.01
"""Nats per token below which the axis of the skips is linear: it shows falls of the loss too."""
FEWEST_SEEDS = 3
"""With fewer there is no band: the interval of two seeds is 13 times as wide as they differ by."""
MOST_MARKED = 6
"""With more variants than this lines have no markers."""


def has_bands(depth: pd.DataFrame) -> bool:
    """Whether intervals are drawn, and not left to the table."""
    few = depth["variant"].nunique() <= MOST_BANDS
    return bool(few and depth["n_seeds"].max() >= FEWEST_SEEDS)


def draw_depth(depth: pd.DataFrame, labels: Sequence[str], theme: Theme) -> Figure:
    """One line a variant over attention and over MLP sublayers, with 95% intervals as bands.

    The two kinds are apart because they differ more from each other than from layer to layer.

    Args:
        depth: `attnres_eval.analysis.depth.depth_table` of one size.
        labels: in drawing order.
        theme: light or dark.
    """
    banded = has_bands(depth)
    shown = [label for label in labels if label in set(depth["variant"])]
    with themed(theme):
        looks = styles(labels, theme)
        figure = Figure(figsize=(WIDTH, 7.0 + 0.22 * len(shown) / legend_columns(len(shown))))
        grid = figure.subplots(len(PANELS), len(KINDS), sharex=True, sharey="row")
        for panels, (measure, title) in zip(grid, PANELS.items(), strict=True):
            for axes, kind in zip(panels, KINDS, strict=True):
                part = depth[depth["kind"].isin([EMBEDDING, kind])].dropna(subset=[measure])
                for label in shown:
                    own = part[part["variant"] == label]
                    _line(axes, own, measure, label, looks[label], len(shown) <= MOST_MARKED)
                    if banded:
                        _band(axes, own, measure, label, looks[label])
            panels[0].set_ylabel(title)
            if measure == "skip_loss_change":
                _skip_axis(panels, depth, theme)
            else:
                _log_axis(panels[0], depth[measure])
        for axes, name in zip(grid[0], KINDS.values(), strict=True):
            axes.set_title(name)
        for axes in grid[-1]:
            axes.set_xlabel("Sublayer (0: the embedding)")
            axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1))
        figure.align_ylabels()
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=legend_columns(len(names)))
        return figure


def _line(
    axes: Axes, own: pd.DataFrame, measure: str, label: str, look: Style, marked: bool
) -> None:
    axes.plot(
        own["sublayer"],
        own[measure],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker if marked else "",
        markersize=4.5,
        linewidth=1.6,
        label=label_title(label),
        gid=f"{measure}-{label}",
    )


def _band(axes: Axes, own: pd.DataFrame, measure: str, label: str, look: Style) -> None:
    sure = own[own["n_seeds"] >= FEWEST_SEEDS].dropna(subset=[f"{measure}_low"])
    if len(sure):
        axes.fill_between(
            sure["sublayer"],
            sure[f"{measure}_low"],
            sure[f"{measure}_high"],
            color=look.colour,
            alpha=0.18,
            linewidth=0,
            gid=f"band-{measure}-{label}",
        )


def measure_range(values: pd.Series, measure: str) -> tuple[float, float]:
    """The ends of a measure's axis: around its means, for a band may reach beyond, and below 0."""
    if measure == "skip_loss_change":
        least, most = values.fillna(0.0).min(), values.fillna(0.0).max()
        return min(0.0, 1.6 * float(least)), max(LINEAR_UP_TO, 1.6 * float(most))
    positive = values[values > 0]
    return (float(positive.min()) / 1.5, float(positive.max()) * 1.5) if len(positive) else (1, 10)


def _log_axis(axes: Axes, values: pd.Series) -> None:
    """A log axis around the means."""
    positive = values[values > 0]
    axes.set_yscale("log")
    if len(positive):
        axes.set_ylim(*measure_range(values, "output_rms"))
    steps = (1, 2, 5) if len(positive) and positive.max() < 300 * positive.min() else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _skip_axis(panels: Sequence[Axes], depth: pd.DataFrame, theme: Theme) -> None:
    for axes in panels:
        axes.axhline(0, color=theme.quiet, linewidth=1.2, zorder=1)
    axes = panels[0]
    axes.set_yscale("symlog", linthresh=LINEAR_UP_TO, linscale=0.5)
    axes.set_ylim(*measure_range(depth["skip_loss_change"], "skip_loss_change"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
