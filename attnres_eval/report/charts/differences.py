"""The chart of every variant against the baseline: what it gains in loss, what it costs to run."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, columns, interval_texts, panel
from attnres_eval.report.charts.look import Looks, short_title
from attnres_eval.report.plot_differences import shown_range
from attnres_eval.report.style import LIGHT, label_title

ROW_PIXELS = 21
COSTS = {"relative_step_time": "time a step", "relative_peak_memory": "peak memory"}
KEPT = [
    *("variant", "family", "size", "n_seeds", "difference", "ci_low", "ci_high"),
    *("ci_low_all", "ci_high_all", "difference_bits_per_byte", *COSTS),
]


def differences_chart(differences: pd.DataFrame, labels: Sequence[str], baseline: str) -> Chart:
    """Loss minus the baseline's with both intervals; beside it step time and peak memory.

    Rows stand as in the static figure: by family, the best of each first.

    Args:
        differences: the table's rows of one size, with `family`, in the order of families.
        labels: all labels of the report.
        baseline: the label that the others are compared with.
    """
    families = list(dict.fromkeys(differences["family"]))
    frame = differences.assign(family_place=differences["family"].map(families.index))
    frame = frame.sort_values(["family_place", "difference"])[KEPT].reset_index(drop=True)
    frame["row"] = layers.row_keys([short_title(label) for label in frame["variant"]])
    frame["interval"] = interval_texts(frame)
    frame["interval_all"] = interval_texts(frame, "ci_low_all", "ci_high_all")
    drawn = [name for name in labels if name in set(frame["variant"])]
    looks = Looks.of(drawn, labels)
    base = label_title(baseline)
    return Chart(
        looks=looks,
        data={"differences": columns(frame)},
        panels=(
            panel(_losses(frame, looks, base), height=ROW_PIXELS, rows="differences"),
            panel(_costs(looks, base), height=ROW_PIXELS, rows="differences"),
        ),
        columns=2,
    )


def _tips() -> list[alt.Tooltip]:
    return layers.tips(
        ("title:N", "title", ""),
        ("family:N", "Family", ""),
        ("size:N", "Size", ""),
        ("n_seeds:Q", "Seeds", ""),
        ("difference:Q", "Nats per token", layers.SIGNED),
        ("interval:N", "95% interval", ""),
        ("interval_all:N", "for all variants at once", ""),
        ("difference_bits_per_byte:Q", "Bits per byte", layers.SIGNED),
        ("relative_step_time:Q", "Time a step, over the baseline's", layers.DIGITS),
        ("relative_peak_memory:Q", "Peak memory, over the baseline's", layers.DIGITS),
    )


def _losses(frame: pd.DataFrame, looks: Looks, base: str) -> list[alt.Chart]:
    low, high = shown_range(frame)
    near = f"datum.difference >= {low!r} && datum.difference <= {high!r}"
    y = alt.Y("row:N", axis=layers.row_axis())
    told = _tips()
    x = alt.X(
        "difference:Q",
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(
            titleAnchor="end",
            title=[f"Loss minus {base}'s", "(nats per token; left is better)"],
            formatType="signed",
            tickCount=5,
        ),
    )
    parts = [layers.reference(x=0.0)]
    for suffix, width in (("_all", 1.2), ("", 3.4)):
        parts.append(
            layers.bars(
                layers.rows("differences", *layers.known("ci_low", "ci_high"), near),
                looks,
                width,
                clip=True,
                x=alt.X(f"ci_low{suffix}:Q"),
                x2=f"ci_high{suffix}:Q",
                y=y,
                tooltip=told,
            )
        )
    parts += layers.estimates("differences", looks, "ci_low", near, size=65, x=x, y=y, tooltip=told)
    for beyond, edge, head, shift in (
        (f"datum.difference < {low!r}", low, "triangle-left", 9),
        (f"datum.difference > {high!r}", high, "triangle-right", -9),
    ):
        far = layers.rows("differences", beyond)
        at = {"x": alt.XDatum(edge), "y": y, "tooltip": told}
        parts.append(
            far.mark_point(shape=head, filled=True, size=70, opacity=1).encode(
                color=looks.colour(), **at
            )
        )
        parts.append(
            far.mark_text(
                align="left" if shift > 0 else "right", dx=shift, color=LIGHT.text, fontSize=11
            ).encode(text=alt.Text("difference:Q", format="+.2f"), **at)
        )
    return parts


def _costs(looks: Looks, base: str) -> list[alt.Chart]:
    y = alt.Y("row:N", axis=layers.row_axis())
    parts = [layers.reference(x=1.0)]
    for column, name in reversed(COSTS.items()):
        x = alt.X(
            f"{column}:Q",
            scale=alt.Scale(zero=False, padding=8),
            axis=alt.Axis(
                titleAnchor="end",
                title=[
                    f"Over {base}'s (left is cheaper)",
                    "filled: time a step; open: memory",
                ],
                format="~g",
                tickCount=4,
            ),
        )
        filled = name == "time a step"
        chart = layers.rows("differences", *layers.known(column)).mark_point(
            shape="circle",
            filled=filled,
            size=65,
            opacity=1,
            strokeWidth=1.6,
            fill=alt.Undefined if filled else LIGHT.page,
        )
        parts.append(chart.encode(x=x, y=y, color=looks.colour(), tooltip=_tips()))
    return parts
