"""The colours, markers and lines of the figures, as Vega draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from attnres_eval.labels import OWN, own_base, split_label
from attnres_eval.report.legend import legend_looks
from attnres_eval.report.style import DARK, LIGHT, MARKERS, Style, Theme, label_title, styles

LINE_WIDTH = 1.8
SHAPES = dict(
    zip(
        MARKERS,
        (
            *("circle", "square", "diamond", "triangle-up", "triangle-down", "cross"),
            # A cross on its side, as an outline within -1 and 1.
            "M0,.35L.65,1L1,.65L.35,0L1,-.65L.65,-1L0,-.35L-.65,-1L-1,-.65L-.35,0L-1,.65L-.65,1Z",
            *("triangle-left", "triangle-right"),
        ),
        strict=True,
    )
)
OUTLINES = {
    "circle": "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0",
    "square": "M-.9,-.9H.9V.9H-.9Z",
    "diamond": "M0,-1.2L1.1,0L0,1.2L-1.1,0Z",
    "triangle-up": "M0,-1L1.1,.9H-1.1Z",
    "triangle-down": "M0,1L-1.1,-.9H1.1Z",
    "cross": "M-1.1,-.4H-.4V-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1Z",
    "triangle-left": "M-1,0L.9,1.1V-1.1Z",
    "triangle-right": "M1,0L-.9,1.1V-1.1Z",
}
"""Vega's markers as outlines, for the legend."""
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'


def shape(look: Style) -> str:
    """A marker's name, or outline, in Vega."""
    return SHAPES[look.marker]


def dash(look: Style) -> list[float]:
    """Lengths of strokes and gaps in pixels; matplotlib counts in widths of the line."""
    if isinstance(look.line, str):
        return [1, 0]
    return [round(length * LINE_WIDTH, 1) for length in look.line[1]]


@dataclass(frozen=True)
class Looks:
    """How a chart draws its labels, and the scales that say so to Vega."""

    styles: dict[str, Style]
    """Of the light theme, by label in drawing order."""

    @staticmethod
    def of(labels: Sequence[str], places: Sequence[str]) -> "Looks":
        """The looks of the static figure.

        Args:
            labels: those drawn.
            places: the labels of the figure, whose order gives the places of names that the
                registry lacks.
        """
        found = styles([*places, *labels], LIGHT)
        return Looks({label: found[label] for label in labels})

    @staticmethod
    def of_legend(labels: Sequence[str], places: Sequence[str]) -> "Looks":
        """The looks of a static figure with a legend, where many rates of one variant share one.

        Args:
            labels: those drawn.
            places: the labels of the figure.
        """
        found = legend_looks(labels, places, LIGHT)
        return Looks({label: found[label] for label in labels})

    @property
    def labels(self) -> list[str]:
        """Those drawn, in order."""
        return list(self.styles)

    def colour(self) -> alt.Color:
        """The channel of a label's colour."""
        colours = [self.styles[label].colour for label in self.labels]
        return alt.Color("label:N", scale=alt.Scale(domain=self.labels, range=colours), legend=None)

    def shape(self) -> alt.Shape:
        """The channel of a label's marker."""
        shapes = [shape(self.styles[label]) for label in self.labels]
        return alt.Shape("label:N", scale=alt.Scale(domain=self.labels, range=shapes), legend=None)

    def dash(self) -> alt.StrokeDash:
        """The channel of a label's kind of line."""
        dashes: list[Any] = [dash(self.styles[label]) for label in self.labels]
        return alt.StrokeDash(
            "label:N", scale=alt.Scale(domain=self.labels, range=dashes), legend=None
        )


def rate_name(label: str) -> str:
    """A label's rate beside others of the same variant."""
    return "own rate" if label.endswith(OWN) else f"{split_label(label)[1]:g}×"


def short_title(label: str) -> str:
    """A label's title where many stand in little room: its rate as a factor alone."""
    base = own_base(label)
    return label_title(label) if base == label else f"{label_title(base)} {rate_name(label)}"


def dark_colours() -> dict[str, str]:
    """Each colour of the light theme and what takes its place in the dark one."""
    return dict(zip(_colours(LIGHT), _colours(DARK), strict=True))


def _colours(theme: Theme) -> list[str]:
    return [theme.page, theme.text, theme.quiet, theme.grid, *theme.colours]


def config() -> dict[str, Any]:
    """Vega-Lite's configuration for all charts of a page, in the light theme's colours."""
    return {
        "background": "transparent",
        "customFormatTypes": True,
        "font": FONT,
        "axis": {
            "domainColor": LIGHT.quiet,
            "gridColor": LIGHT.grid,
            "labelColor": LIGHT.text,
            "labelFontSize": 12,
            "labelLimit": 240,
            "tickColor": LIGHT.quiet,
            "titleColor": LIGHT.text,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
        },
        "title": {
            "anchor": "start",
            "color": LIGHT.text,
            "fontSize": 13,
            "fontWeight": 600,
            "frame": "group",
        },
        "view": {"stroke": None},
    }
