"""Who reads whom: the depth-mixing matrix as maps, attention and MLP readers apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, FuncNorm, LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from attnres_eval.analysis.depth import ATTENTION
from attnres_eval.analysis.intervals import Array
from attnres_eval.report.plot_scaling import WIDTH
from attnres_eval.report.style import Theme, label_title, points, themed

MOST_WIDE = 4
"""With more variants than this two share a row."""
ROBUST = 98
"""Percentile of |M| that a map's colours must reach; what lies beyond has the arrow's colour."""
BAR_TICKS = (-1, -0.5, -0.1, 0, 0.1, 0.25, 0.5, 1)


@dataclass(frozen=True)
class Map:
    """One variant's maps."""

    label: str
    scale: float
    """What the full colour stands for: 1, or more where a variant's weights are larger."""
    attention: pd.DataFrame
    """Weights of the attention sublayers: index the reader, columns the source; NaN where there
    is none."""
    mlp: pd.DataFrame
    """Those of the MLP sublayers and, last, of the output aggregation."""


def variant_map(label: str, mixing: pd.DataFrame) -> Map:
    """The maps of one variant at one size from its rows of `mixing_table`."""
    table = mixing.pivot_table(index="reader", columns="source", values="weight", dropna=False)
    kinds = mixing.drop_duplicates("reader").set_index("reader")["reader_kind"]
    attends = kinds.reindex(table.index) == ATTENTION
    return Map(label, colour_scale(mixing["weight"]), table[attends], table[~attends])


def colour_scale(weights: pd.Series) -> float:
    """1 where nearly all weights lie within -1 and 1; else the next of 2, 5, 10, 20, 50 ..."""
    known = weights.dropna().abs()
    reach = float(np.percentile(known, ROBUST)) if len(known) else 0.0
    if reach <= 1.005:  # weights of one, up to rounding
        return 1.0
    power = 10.0 ** np.floor(np.log10(reach))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= reach))


def signed_root(values: Array) -> Array:
    """Square root that keeps the sign: small weights stay apart from none."""
    return np.sign(values) * np.sqrt(np.abs(values))


def signed_square(values: Array) -> Array:
    """The inverse of `signed_root`."""
    return np.sign(values) * np.square(values)


def colours(theme: Theme) -> Colormap:
    """Blue for positive weights, orange for negative ones, the page's colour for none."""
    _, positive, negative, *_ = theme.colours
    map_ = LinearSegmentedColormap.from_list("weights", [negative, theme.page, positive])
    return map_.with_extremes(
        over=blend(positive, theme.text), under=blend(negative, theme.text), bad="none"
    )


def blend(one: str, other: str) -> str:
    """Halfway between two colours."""
    pair = np.array([to_rgb(one), to_rgb(other)])
    return to_hex(pair.mean(axis=0))


def draw_mixing(mixing: pd.DataFrame, labels: Sequence[str], theme: Theme) -> Figure:
    """Two maps a variant: what its attention sublayers read, and what its MLPs and output do.

    Colours are M over the variant's scale, on a root scale, the same for all maps.

    Args:
        mixing: `attnres_eval.analysis.depth.mixing_table` of one size.
        labels: in drawing order.
        theme: light or dark.
    """
    known = set(mixing["variant"])
    maps = [variant_map(x, mixing[mixing["variant"] == x]) for x in labels if x in known]
    across = 1 if len(maps) <= MOST_WIDE else 2
    rows = -(-len(maps) // across)
    with themed(theme):
        norm, palette = FuncNorm((signed_root, signed_square), vmin=-1, vmax=1), colours(theme)
        height = rows * (2.0 if across == 1 else 1.75) + 1.3
        figure = Figure(figsize=(WIDTH, height))
        grid = figure.subplots(rows, 2 * across, squeeze=False)
        for place in range(rows * across):
            row, column = divmod(place, across)
            pair = grid[row, 2 * column], grid[row, 2 * column + 1]
            if place >= len(maps):
                for axes in pair:
                    axes.set_visible(False)
                continue
            last = place + across >= len(maps)
            _draw_pair(pair, maps[place], palette, norm, last=last, wide=across == 1)
            for axes in pair:
                # Shows through where there is no weight.
                axes.patch.set(hatch="////", edgecolor=theme.grid, linewidth=0)
        bar = figure.colorbar(
            ScalarMappable(norm, palette),
            ax=grid,
            location="bottom",
            extend="both",
            shrink=0.8,
            aspect=40,
            # Shares of the maps' height: the bar is as thick under three as under thirty.
            fraction=0.15 / height,
            pad=0.1 / height,
        )
        bar.ax.xaxis.set_major_locator(FixedLocator(BAR_TICKS))
        bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.ax.grid(visible=False)
        bar.set_label("Weight M, over the factor in a title; arrows: beyond; hatched: none")
        return figure


def _draw_pair(
    pair: tuple[Axes, Axes],
    shown: Map,
    palette: Colormap,
    norm: FuncNorm,
    *,
    last: bool,
    wide: bool,
) -> None:
    for axes, table, name in zip(
        pair, (shown.attention, shown.mlp), ("attention", "mlp"), strict=True
    ):
        axes.imshow(
            table.to_numpy(np.float64) / shown.scale,
            cmap=palette,
            norm=norm,
            interpolation="nearest",
            aspect="auto",
            gid=f"{name}-{shown.label}",
        )
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if last:
            axes.set_xlabel("Source")
    first, second = pair
    factor = "" if shown.scale == 1 else f" (×{shown.scale:g})"
    first.set_title(
        f"{label_title(shown.label)}{factor}\nby attention", fontsize=points(10), loc="left"
    )
    second.set_title("by MLPs, output", fontsize=points(10), loc="left")
    readers = [str(reader) for reader in shown.attention.index]
    _ticks(first, readers)
    _ticks(second, [*(str(reader) for reader in shown.mlp.index[:-1]), "out"])
    if wide:
        first.set_ylabel("Reader")


def _ticks(axes: Axes, names: Sequence[str]) -> None:
    """A few readers by their names, from the last one up."""
    places = list(range(len(names) - 1, -1, -max(1, round(len(names) / 4))))
    axes.set_yticks(places, [names[place] for place in places])
