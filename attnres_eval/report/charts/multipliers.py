"""The chart of compute multipliers: a row a result or a check of one, with its interval."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, columns, interval_texts, panel
from attnres_eval.report.charts.look import Looks
from attnres_eval.report.plot_compare import multiplier_range
from attnres_eval.report.style import LIGHT

ROW_PIXELS = 25


def multipliers_chart(
    multipliers: pd.DataFrame, published: float | None, labels: Sequence[str]
) -> Chart:
    """Multipliers as dots with 95% intervals; without an interval an open dot and no bar.

    Args:
        multipliers: variant, row, model, main, multiplier, ci_low, ci_high, of known multipliers.
        published: the published multiplier, drawn as a line; None draws no line.
        labels: all labels of the report.
    """
    frame = multipliers[
        ["variant", "model", "main", "multiplier", "ci_low", "ci_high"]
    ].reset_index(drop=True)
    frame["row"] = layers.row_keys(list(multipliers["row"]))
    frame["interval"] = interval_texts(frame)
    low, high = multiplier_range(frame, published)
    drawn = [name for name in labels if name in set(frame["variant"])]
    looks = Looks.of(drawn, labels)
    x = alt.X(
        "multiplier:Q",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(
            titleAnchor="end",
            title="Compute multiplier (above 1: a saving)",
            format="~g",
            tickCount=6,
        ),
    )
    y = alt.Y("row:N", axis=layers.row_axis())
    told = layers.tips(
        ("title:N", "title", ""),
        ("model:N", "Fit", ""),
        ("multiplier:Q", "Multiplier", layers.DIGITS),
        ("interval:N", "95% interval", ""),
    )
    parts: list[alt.Chart] = [
        layers.reference(x=1.0, name="no saving"),
        *(
            [layers.reference(x=published, dashes=(6, 4), name=f"published {published:g}×")]
            if published is not None
            else []
        ),
        *_bars(looks, y, told),
        *_goes_on(looks, y, low, high),
    ]
    for main, size in (("datum.main", 110.0), ("!datum.main", 50.0)):
        parts += layers.estimates(
            "multipliers", looks, "ci_low", main, size=size, x=x, y=y, tooltip=told
        )
    return Chart(
        looks=looks,
        data={"multipliers": columns(frame)},
        panels=(panel(parts, height=ROW_PIXELS, rows="multipliers"),),
    )


def _bars(looks: Looks, y: alt.Y, told: list[alt.Tooltip]) -> list[alt.Chart]:
    return [
        layers.bars(
            layers.rows("multipliers", *layers.known("ci_low", "ci_high"), main),
            looks,
            width,
            clip=True,
            x=alt.X("ci_low:Q"),
            x2="ci_high:Q",
            y=y,
            tooltip=told,
        )
        for main, width in (("datum.main", 2.6), ("!datum.main", 1.6))
    ]


def _goes_on(looks: Looks, y: alt.Y, low: float, high: float) -> list[alt.Chart]:
    """Heads of the bars that reach beyond the panel."""
    return [
        layers.rows("multipliers", *layers.known("ci_low", "ci_high"), beyond)
        .mark_point(shape=head, filled=True, size=70, opacity=1, stroke=LIGHT.page, aria=False)
        .encode(x=alt.XDatum(edge), y=y, color=looks.colour())
        for beyond, edge, head in (
            (f"datum.ci_low < {low!r}", low, "triangle-left"),
            (f"datum.ci_high > {high!r}", high, "triangle-right"),
        )
    ]
