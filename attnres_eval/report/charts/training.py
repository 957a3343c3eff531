"""The chart of learning curves: training loss, and each variant's lead over the baseline."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, columns, panel
from attnres_eval.report.charts.look import Looks
from attnres_eval.report.style import label_title

MOST_POINTS = 120
"""Of a curve: about one in six pixels of a page's width."""


def training_chart(smooth: pd.DataFrame, labels: Sequence[str], baseline: str) -> Chart:
    """Training loss over tokens at one size, and its difference from the baseline.

    Args:
        smooth: `attnres_eval.report.plot_training.smoothed_curves`; long curves are thinned, their
            last point kept.
        labels: all labels of the report.
        baseline: the label that the others are compared with.
    """
    every = -(-len(smooth) // MOST_POINTS)
    kept = smooth.iloc[::-1].iloc[::every].iloc[::-1]
    drawn = [name for name in labels if name in kept]
    parts = []
    for label in drawn:
        part = pd.DataFrame({"label": label, "tokens": kept.index, "loss": kept[label].to_numpy()})
        if baseline in kept:
            part["difference"] = (kept[label] - kept[baseline]).to_numpy()
        parts.append(part)
    looks = Looks.of_legend(drawn, labels)
    panels = [panel(_curves(looks, "loss", "Training loss (nats per token)", ""), height=280)]
    if baseline in kept:
        title = f"Minus {label_title(baseline)} (nats per token)"
        panels.append(panel(_curves(looks, "difference", title, "+"), height=190))
    return Chart(
        looks=looks,
        data={"curves": columns(pd.concat(parts, ignore_index=True))},
        panels=tuple(panels),
        key=True,
    )


def _curves(looks: Looks, column: str, title: str, sign: str) -> list[alt.Chart]:
    x = alt.X(
        "tokens:Q",
        scale=alt.Scale(nice=False, zero=False),
        axis=alt.Axis(title="Training tokens", format="~s", tickCount=6),
    )
    y = alt.Y(
        f"{column}:Q",
        scale=alt.Scale(zero=False),
        axis=layers.value_axis(title, signed=bool(sign)),
    )
    told = layers.tips(
        ("title:N", "title", ""),
        ("tokens:Q", "Tokens", layers.COUNT),
        ("loss:Q", "Nats per token", layers.DIGITS),
        *([("difference:Q", "Minus the baseline's", layers.SIGNED)] if sign else []),
    )
    # What is pointed at is the nearest invisible point: a line has no row of its own.
    targets = layers.rows("curves").mark_point(size=120, opacity=0, filled=True)
    return [
        layers.lines(layers.rows("curves"), looks, x=x, y=y),
        targets.encode(x=x, y=y, color=looks.colour(), tooltip=told),
    ]
