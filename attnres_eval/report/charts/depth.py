"""The chart of magnitudes by depth: a line a variant over attention and over MLP sublayers."""

import math
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from attnres_eval.analysis.depth import EMBEDDING
from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, Panel, columns, interval_texts, panel
from attnres_eval.report.charts.look import Looks
from attnres_eval.report.plot_depth import (
    FEWEST_SEEDS,
    KINDS,
    LINEAR_UP_TO,
    PANELS,
    has_bands,
    measure_range,
)

MOST_TICKS = 5
SKIP = "skip_loss_change"


def depth_chart(depth: pd.DataFrame, labels: Sequence[str]) -> Chart:
    """Output, gradient and cost of a skip by sublayer, with 95% intervals as the figure has them.

    Args:
        depth: `attnres_eval.analysis.depth.depth_table` of one size.
        labels: all labels of the report.
    """
    frame = depth.reset_index(drop=True).copy()
    for measure in PANELS:
        frame[f"{measure}_interval"] = interval_texts(frame, f"{measure}_low", f"{measure}_high")
    drawn = [name for name in labels if name in set(frame["variant"])]
    looks = Looks.of(drawn, labels)
    banded = has_bands(frame)
    panels = [
        _panel(frame, measure, kind, looks, banded=banded) for measure in PANELS for kind in KINDS
    ]
    return Chart(
        looks=looks,
        data={"depth": columns(frame)},
        panels=tuple(panels),
        columns=2,
        key=True,
    )


def _panel(frame: pd.DataFrame, measure: str, kind: str, looks: Looks, *, banded: bool) -> Panel:
    x = alt.X(
        "sublayer:Q",
        scale=alt.Scale(nice=False, padding=6),
        axis=alt.Axis(title="Sublayer (0: the embedding)", tickMinStep=1, format="d"),
    )
    name = PANELS[measure].replace("\n", " ")
    y = alt.Y(
        f"{measure}:Q",
        scale=_scale(frame, measure),
        axis=alt.Axis(
            title=PANELS[measure].split("\n"),
            formatType="power",
            values=_ticks(*measure_range(frame[measure], measure)),
        ),
    )
    told = layers.tips(
        ("title:N", "title", ""),
        ("sublayer:Q", "Sublayer", ""),
        ("kind:N", "Kind", ""),
        (f"{measure}:Q", name, layers.DIGITS),
        (f"{measure}_interval:N", "95% interval", ""),
        ("n_seeds:Q", "Seeds", ""),
    )
    kinds = f"({layers.equal('kind', EMBEDDING)} || {layers.equal('kind', kind)})"
    shown = [kinds, *layers.known(measure)]
    parts: list[alt.Chart] = []
    if measure == SKIP:
        parts.append(layers.reference(y=0.0))
    if banded:
        sure = [*layers.known(f"{measure}_low"), f"datum.n_seeds >= {FEWEST_SEEDS}"]
        parts.append(
            layers.bands(
                layers.rows("depth", *shown, *sure),
                looks,
                x=x,
                y=alt.Y(f"{measure}_low:Q"),
                y2=f"{measure}_high:Q",
            )
        )
    parts += [
        layers.lines(layers.rows("depth", *shown), looks, 1.6, clip=True, x=x, y=y),
        layers.points(layers.rows("depth", *shown), looks, 36, x=x, y=y, tooltip=told),
    ]
    return panel(parts, height=190, title=KINDS[kind])


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten within an axis, of both signs and with 0 where it has them.

    On an axis that is linear near zero they begin where it ends to be.
    """
    least = LINEAR_UP_TO if low <= 0 else low
    most = max(high, -low)
    exponents = range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1)
    if not exponents:
        # Within one power of ten: three numbers of two digits.
        inside = np.geomspace(least, most, 5)[1:-1] if most > least else [least]
        return [float(f"{tick:.1e}") for tick in inside if low <= tick <= high]
    every = -(-len(exponents) // MOST_TICKS)
    powers = [10.0**exponent for exponent in exponents][::every]
    both = [*(-power for power in reversed(powers)), 0.0, *powers]
    return [tick for tick in both if low <= tick <= high]


def _scale(frame: pd.DataFrame, measure: str) -> alt.Scale:
    """The figure's own axis: logarithmic, or linear near zero where falls are shown too."""
    low, high = measure_range(frame[measure], measure)
    if measure == SKIP:
        return alt.Scale(type="symlog", constant=LINEAR_UP_TO, domain=[low, high], nice=False)
    return alt.Scale(type="log", domain=[low, high], nice=False)
