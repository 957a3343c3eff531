"""The layers that charts are made of: points, lines, intervals and reference lines."""

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike

from attnres_eval.report.charts.look import LINE_WIDTH, Looks
from attnres_eval.report.style import LIGHT

SHOWN = "indexof(hidden, datum.label) < 0"
"""Whether a row's label is shown on the page."""

NATS = "Validation loss (nats per token)"
BITS = "Validation loss (bits per byte)"


def rows(data: str, *conditions: str) -> alt.Chart:
    """The shown rows of one of a chart's data sets that meet all conditions."""
    chart = alt.Chart(alt.NamedData(name=data))
    for condition in (SHOWN, *conditions):
        chart = chart.transform_filter(condition)
    return chart


def equal(column: str, value: object) -> str:
    """The condition that a column has a value."""
    return f"datum[{json.dumps(column)}] === {json.dumps(value)}"


def known(*names: str) -> list[str]:
    """The conditions that columns have a number."""
    return [f"isValid(datum.{name})" for name in names]


def hollow(name: str) -> str:
    """The condition that a column has none."""
    return f"!isValid(datum.{name})"


def points(chart: alt.Chart, looks: Looks, size: float = 60, **encoding: Any) -> alt.Chart:
    """Filled points with their label's colour and marker, a rim in the page's colour."""
    return chart.mark_point(
        filled=True, size=size, opacity=1, stroke=LIGHT.page, strokeWidth=0.6
    ).encode(color=looks.colour(), shape=looks.shape(), **encoding)


def open_points(chart: alt.Chart, looks: Looks, size: float = 60, **encoding: Any) -> alt.Chart:
    """Points without a filling: estimates without an interval."""
    return chart.mark_point(
        filled=False, size=size, opacity=1, fill=LIGHT.page, strokeWidth=1.6
    ).encode(color=looks.colour(), shape=looks.shape(), **encoding)


def estimates(
    data: str, looks: Looks, low: str, *conditions: str, size: float = 60, **encoding: Any
) -> list[alt.Chart]:
    """Points that are filled where a row has the end `low` of its interval, and else open."""
    return [
        open_points(rows(data, hollow(low), *conditions), looks, size, **encoding),
        points(rows(data, *known(low), *conditions), looks, size, **encoding),
    ]


def lines(
    chart: alt.Chart,
    looks: Looks,
    width: float = LINE_WIDTH,
    *,
    clip: bool = False,
    **encoding: Any,
) -> alt.Chart:
    """A line a label in its colour and kind of line."""
    return chart.mark_line(strokeWidth=width, clip=clip).encode(
        color=looks.colour(), strokeDash=looks.dash(), **encoding
    )


def bars(
    chart: alt.Chart, looks: Looks, width: float = 1.5, *, clip: bool = False, **encoding: Any
) -> alt.Chart:
    """Intervals as bars in their label's colour: `x` and `x2`, or `y` and `y2`, are the ends."""
    return chart.mark_rule(strokeWidth=width, clip=clip).encode(color=looks.colour(), **encoding)


def bands(chart: alt.Chart, looks: Looks, opacity: float = 0.16, **encoding: Any) -> alt.Chart:
    """Intervals as areas in their label's colour."""
    return chart.mark_area(clip=True, fillOpacity=opacity, strokeWidth=0).encode(
        color=looks.colour(), **encoding
    )


def curves(
    data: str,
    looks: Looks,
    ends: tuple[str, str],
    *conditions: str,
    tooltip: list[alt.Tooltip],
    **encoding: Any,
) -> list[alt.Chart]:
    """A line a label through estimates with their intervals.

    Args:
        data: the rows, in which an estimate without an interval is an open point.
        looks: of the labels.
        ends: the columns of an interval's ends.
        conditions: which rows.
        tooltip: what an estimate tells.
        encoding: the estimates' places, `x` and `y` among them.
    """
    low, high = ends
    span = encoding | {"y": alt.Y(f"{low}:Q"), "y2": f"{high}:Q"}
    return [
        lines(rows(data, *conditions), looks, **encoding),
        bars(rows(data, *conditions, *known(low, high)), looks, tooltip=tooltip, **span),
        *estimates(data, looks, low, *conditions, tooltip=tooltip, **encoding),
    ]


def reference(
    *,
    x: float | None = None,
    y: float | None = None,
    dashes: Sequence[float] = (1, 0),
    name: str = "",
) -> alt.Chart:
    """A quiet line at a value, named when pointed at."""
    chart = alt.Chart(alt.InlineData([{}])).mark_rule(
        color=LIGHT.quiet, strokeWidth=1.3, strokeDash=list(dashes), tooltip=name or alt.Undefined
    )
    return chart.encode(x=alt.XDatum(x)) if x is not None else chart.encode(y=alt.YDatum(y))


def tips(*fields: tuple[str, str, str]) -> list[alt.Tooltip]:
    """What a mark tells when pointed at, below its name.

    Args:
        fields: column with its type, what it is called, and its format.
    """
    return [
        alt.Tooltip(column, title=name, format=form or alt.Undefined)
        for column, name, form in fields
    ]


DIGITS = ".4~r"
SIGNED = "+.4~r"
POWER = ".3~e"
COUNT = ","


def row_axis(title: str | None = None) -> alt.Axis:
    """An axis of rows named `<place>|<text>`, of which it shows the text."""
    return alt.Axis(
        title=title,
        labelExpr="slice(datum.label, indexof(datum.label, '|') + 1)",
        ticks=False,
        domain=False,
        labelPadding=8,
    )


def row_keys(texts: Sequence[str]) -> list[str]:
    """Names of rows that sort as they stand and differ even where their texts do not."""
    return [f"{place:03d}|{text}" for place, text in enumerate(texts)]


def value_axis(title: str, *, signed: bool = False) -> alt.Axis:
    """An upright axis of plain numbers, or of differences with their signs."""
    if signed:
        return alt.Axis(title=title, formatType="signed", tickCount=5)
    return alt.Axis(title=title, format="~g", tickCount=5)


ROUND = (
    "indexof([1, 2, 5], round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))) >= 0"
)
"""Whether a tick is at 1, 2 or 5 times a power of ten."""
WIDE = 5.0
"""From this factor between its ends on, an axis has numbers at round ticks alone."""


def power_axis(title: str, values: ArrayLike) -> alt.Axis:
    """A log axis whose numbers are written as powers of ten.

    Args:
        title: of the axis.
        values: what it reaches over.
    """
    known = np.asarray(values, dtype=np.float64)
    wide = known.size > 0 and known.max() >= WIDE * known.min()
    return alt.Axis(
        title=title,
        formatType="power",
        labelExpr=f"{ROUND} ? datum.label : ''" if wide else alt.Undefined,
        labelOverlap="greedy",
        labelBound=True,
    )
