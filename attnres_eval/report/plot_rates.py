"""Figures of learning rates: the loss over each variant's rates, and what its best one changes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from attnres_eval.report.plot_differences import ROW_INCHES, signed
from attnres_eval.report.plot_scaling import WIDTH
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import Style, Theme, label_title, points, styles, themed

PANEL_COLUMNS = 3
ABOVE = 0.25
"""The panels reach this share of the baseline's own range above its greatest loss."""


def draw_rates(rates: pd.DataFrame, baseline: str, theme: Theme) -> Figure:
    """Mean loss over the learning rate, a panel a variant, with the baseline's curve in each.

    Thin bars reach from the least to the greatest loss of a seed, a ring marks the best rate. A
    loss above the panel is a triangle at its edge with the number.

    Args:
        rates: `attnres_eval.analysis.rates.rates_table`, one size.
        baseline: label without a rate.
        theme: light or dark.
    """
    variants = list(dict.fromkeys(rates["variant"]))
    shown = [name for name in variants if name != baseline] or variants
    columns = min(PANEL_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    with themed(theme):
        looks = styles(variants, theme)
        figure = Figure(figsize=(WIDTH, 2.0 * rows + 0.5))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        ends = loss_range(rates, baseline)
        for panel, axes in enumerate(grid.flat):
            if panel >= len(shown):
                axes.set_visible(False)
                continue
            axes.set_ylim(*ends)
            for name in dict.fromkeys([baseline, shown[panel]]):
                own = rates[rates["variant"] == name]
                _rate_curve(axes, own, looks[name], ends[1], quiet=name != shown[panel])
            axes.set_title(label_title(shown[panel]))
            _rate_axis(axes, rates)
            if panel + columns >= len(shown):
                axes.set_xlabel("Peak learning rate")
                axes.xaxis.set_tick_params(labelbottom=True)
            if panel % columns == 0:
                axes.set_ylabel("Nats per token")
        return figure


def loss_range(rates: pd.DataFrame, baseline: str) -> tuple[float, float]:
    """The ends of the loss axis: all least losses, and not much more than the baseline's."""
    base = rates.loc[rates["variant"] == baseline, ["nats_low", "nats_high"]].to_numpy(float)
    low = float(np.nanmin(rates["nats_low"].to_numpy(float)))
    high = float(np.nanmax(base)) if np.isfinite(base).any() else float(rates["nats_high"].max())
    reach = high - low or 0.1
    return low - 0.06 * reach, high + ABOVE * reach


def _rate_curve(axes: Axes, own: pd.DataFrame, look: Style, top: float, *, quiet: bool) -> None:
    """One variant's losses; a quiet one is a thin line behind the panel's own."""
    name = own["variant"].iloc[0]
    kind = "reference" if quiet else "rates"
    axes.plot(
        own["learning_rate"],
        own["nats_per_token"],
        color=look.colour,
        linestyle=look.line,
        linewidth=1.0 if quiet else 1.8,
        marker="" if quiet else look.marker,
        markersize=4.5,
        gid=f"{kind}-{name}",
        zorder=2 if quiet else 3,
    )
    for _, row in own[own["best"].astype(bool)].iterrows():
        axes.plot(
            [row["learning_rate"]],
            [row["nats_per_token"]],
            marker="o",
            markersize=7 if quiet else 11,
            markerfacecolor="none",
            color=look.colour,
            gid=f"{kind}-best-{name}",
            zorder=4,
        )
    if quiet:
        return
    for _, row in own.iterrows():
        x = row["learning_rate"]
        axes.plot([x, x], [row["nats_low"], row["nats_high"]], color=look.colour, linewidth=1.2)
        if row["nats_per_token"] > top:
            axes.plot([x], [top], marker="^", color=look.colour, clip_on=False, markersize=6)
            axes.annotate(
                f"{row['nats_per_token']:.2f}",
                (x, top),
                xytext=(0, -6),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=points(9),
            )


def _rate_axis(axes: Axes, rates: pd.DataFrame) -> None:
    known = sorted(set(rates["learning_rate"].round(12)))
    axes.set_xscale("log", base=2)
    axes.set_xlim(known[0] / 1.35, known[-1] * 1.35)
    # Every second rate has its number: five digits each have no room side by side.
    axes.xaxis.set_major_locator(FixedLocator(known[:: 2 if len(known) > 4 else 1]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(4))


COMPARISONS = (
    ("difference_at_baseline_rate", "at_baseline_rate_low", "at_baseline_rate_high"),
    ("difference_at_best", "at_best_low", "at_best_high"),
)


def draw_best_rates(best: pd.DataFrame, baseline: str, theme: Theme) -> Figure:
    """Each variant's difference to the baseline at the baseline's best rate and at its own.

    Args:
        best: `attnres_eval.analysis.rates.best_rates_table`, one size.
        baseline: label without a rate; it is the line at 0.
        theme: light or dark.
    """
    rows = best[best["variant"] != baseline]
    with themed(theme):
        looks = styles([baseline, *rows["variant"]], theme)
        figure = Figure(figsize=(WIDTH, 1.5 + 1.5 * ROW_INCHES * len(rows)))
        axes = figure.subplots()
        for place, (_, row) in enumerate(rows.iterrows()):
            look = looks[row["variant"]]
            for column, low, high in COMPARISONS:
                own = column == "difference_at_best"
                if pd.isna(row[column]):
                    continue
                y = place + (0.17 if own else -0.17)
                if has_interval(row, low, high):
                    axes.plot(
                        [row[low], row[high]],
                        [y, y],
                        color=look.colour,
                        linewidth=2.6 if own else 1.2,
                        solid_capstyle="butt",
                        gid=f"{low}-{row['variant']}",
                    )
                axes.plot(
                    [row[column]],
                    [y],
                    linestyle="none",
                    marker=look.marker,
                    color=look.colour,
                    markerfacecolor=look.colour if own else theme.page,
                    markeredgewidth=1.4,
                    gid=f"{column}-{row['variant']}",
                    zorder=3,
                )
        axes.axvline(0, color=theme.quiet, linewidth=1.4, zorder=1)
        axes.set_yticks(range(len(rows)), [row_name(row) for _, row in rows.iterrows()])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(signed))
        axes.set_xlabel(f"Loss minus {label_title(baseline)}'s at its best rate (nats per token)")
        handles = [
            axes.plot(
                [], [], linestyle="none", marker="o", color=theme.text, markerfacecolor=fill,
                label=text,
            )[0]
            for fill, text in (
                (theme.page, f"at {label_title(baseline)}'s best rate"),
                (theme.text, "at its own best rate"),
            )
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
        return figure


def row_name(row: pd.Series, between: str = "\n") -> str:
    """A variant with its best rate, and whether that is the least or the greatest tried."""
    edge = " (edge)" if row["edge"] else ""
    return f"{label_title(row['variant'])}{between}{row['learning_rate']:.3g}{edge}"
