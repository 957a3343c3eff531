"""What an interactive chart is: panels that share data, and switches between what they show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import pandas as pd

from attnres_eval.analysis.tables import MISSING, display, rounded
from attnres_eval.report.charts.look import Looks
from attnres_eval.report.style import label_title

Columns = dict[str, list[Any]]
"""A frame by columns, which takes half of the bytes of rows."""


@dataclass(frozen=True)
class Option:
    """One of the things that a switch chooses between."""

    text: str
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Fields and titles of the chart as it is without the option, and what takes their place."""


@dataclass(frozen=True)
class Switch:
    """A choice between readings of a chart; the first option is the chart as it is."""

    name: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Panel:
    """One drawing of a chart, as wide as the page gives it room."""

    spec: dict[str, Any]
    """Vega-Lite, in the light theme's colours; its data are the chart's, by name."""
    labels: tuple[str, ...] = ()
    """What the panel is about, where it is about some labels only: hidden with all of them."""
    rows: str = ""
    """The data whose rows it is as high as; its height is then that of one of them."""


@dataclass(frozen=True)
class Chart:
    """The interactive form of a figure.

    A panel filters by the parameter `hidden`, a list of labels, in the column `label` of its data.
    """

    looks: Looks
    data: Mapping[str, Columns]
    panels: tuple[Panel, ...]
    switches: tuple[Switch, ...] = ()
    columns: int = 1
    """Of panels, at most; a narrow page has fewer."""
    key: bool = False
    """Whether looks alone tell its labels apart, so that a key stands with it."""


def columns(frame: pd.DataFrame) -> Columns:
    """A frame's columns as JSON has them: numbers to seven digits, a missing one as null.

    Args:
        frame: a column `variant`, or `label`, becomes `label` and, in words, `title`.
    """
    found: Columns = {}
    for name, values in rounded(frame).items():
        found["label" if name == "variant" else str(name)] = [_plain(value) for value in values]
    if "label" in found:
        found["title"] = [label_title(str(label)) for label in found["label"]]
    return found


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def interval_texts(frame: pd.DataFrame, low: str = "ci_low", high: str = "ci_high") -> list[str]:
    """Each row's interval as the page's tables have it."""
    return [
        MISSING if pd.isna(a) or pd.isna(b) else f"{display(a)} to {display(b)}"
        for a, b in zip(frame[low], frame[high], strict=True)
    ]


def panel(
    parts: Sequence[alt.Chart],
    labels: Sequence[str] = (),
    *,
    height: int,
    rows: str = "",
    title: str = "",
) -> Panel:
    """Layers as a panel that is as wide as its place, validated against Vega-Lite's schema.

    Args:
        parts: layers over named data, the lowest first.
        labels: what it is about, where it is about some labels only.
        height: in pixels, of the whole or, with `rows`, of one of them.
        rows: the data whose shown rows, told apart by `row` and `label`, make the height.
        title: of the panel.
    """
    whole = alt.layer(*parts).properties(width="container", height=height)
    if title:
        whole = whole.properties(title=title)
    spec = whole.add_params(alt.param(name="hidden", value=[])).to_dict()
    # Every chart of a page has the page's configuration, and the runtime knows its own version.
    for name in ("config", "$schema"):
        spec.pop(name, None)
    return Panel(spec, tuple(labels), rows)
