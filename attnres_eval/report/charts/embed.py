"""Charts as parts of a page: their data and looks as JSON, and the program that draws them."""

import functools
import json
from collections.abc import Sequence
from typing import Any

import vl_convert
from markupsafe import Markup

from attnres_eval.labels import own_base, split_label
from attnres_eval.report.assets import embeddable
from attnres_eval.report.charts.chart import Chart
from attnres_eval.report.charts.look import (
    OUTLINES,
    config,
    dark_colours,
    dash,
    rate_name,
    shape,
    short_title,
)
from attnres_eval.report.legend import legend_names
from attnres_eval.report.style import Style, label_title


def chart_json(chart: Chart) -> Markup:
    """A chart as the page's script reads it, to stand inside of `<script>`."""
    return _json(
        {
            "data": chart.data,
            "columns": chart.columns,
            **({"key": _key(chart)} if chart.key else {}),
            "panels": [
                {"spec": panel.spec, "labels": panel.labels, "rows": panel.rows}
                for panel in chart.panels
            ],
            "switches": [
                {
                    "name": switch.name,
                    "options": [
                        {"text": option.text, "replaced": option.replaced}
                        for option in switch.options
                    ],
                }
                for switch in chart.switches
            ],
        }
    )


def page_json(charts: Sequence[Chart]) -> Markup:
    """What all charts of a page share: configuration, colours in the dark, and the variants."""
    return _json(
        {
            "config": config(),
            "dark": dark_colours(),
            "outlines": OUTLINES,
            "variants": variants(charts),
        }
    )


def variants(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    """Every variant that is drawn, with its labels and their looks.

    A label has two looks where two studies on one page give it two colours.

    Returns:
        Each with `title`, and `labels`: `label`, `title`, `rate` and `looks`.
    """
    looks: dict[str, list[dict[str, Any]]] = {}
    for chart in charts:
        for label, look in chart.looks.styles.items():
            own = looks.setdefault(label, [])
            if look.colour not in [one["colour"] for one in own]:
                own.append(_look(look))
    grouped: dict[str, list[str]] = {}
    for label in looks:
        grouped.setdefault(own_base(label), []).append(label)
    return [
        {
            "title": label_title(base),
            "labels": [
                {
                    "label": label,
                    "title": label_title(label),
                    "rate": rate_name(label),
                    "looks": looks[label],
                }
                for label in sorted(labels, key=lambda label: split_label(label)[1])
            ],
        }
        for base, labels in grouped.items()
    ]


def _key(chart: Chart) -> list[dict[str, Any]]:
    """The names in the key of one chart, each with the labels that bear it and their look."""
    labels = chart.looks.labels
    names = legend_names(labels)
    shared = len(names) < len(labels)
    return [
        {
            "labels": [label for label in labels if own_base(label) == own_base(bearer)]
            if shared
            else [bearer],
            "title": name if shared else short_title(bearer),
            "look": _look(chart.looks.styles[bearer]),
        }
        for bearer, name in names.items()
    ]


def _look(look: Style) -> dict[str, Any]:
    return {"colour": look.colour, "shape": shape(look), "dash": dash(look)}


def _json(value: Any) -> Markup:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Nothing in it can end the element, or begin a comment.
    return Markup(text.replace("<", "\\u003c"))


SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the bundle ends in: all that the page's script needs of it."""


@functools.cache
def runtime() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script, which needs no network.

    The bundle is made by the package that brings them; that takes seconds, so once a process.
    """
    # Its names stay its own: the page has other scripts.
    return embeddable("(() => {" + vl_convert.javascript_bundle(SNIPPET) + "})();")
