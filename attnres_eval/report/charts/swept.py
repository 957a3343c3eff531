"""The charts of studies over learning rates, over depth at one budget, and over an option."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from attnres_eval.labels import scaled_label
from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, Panel, columns, interval_texts, panel
from attnres_eval.report.charts.look import Looks, dash
from attnres_eval.report.plot_rates import COMPARISONS, loss_range, row_name
from attnres_eval.report.style import LIGHT, Style, label_title


def _at_rates(frame: pd.DataFrame) -> list[str]:
    """The study's label of each row of a table by variant and scale of the rate."""
    return [
        scaled_label(variant, scale)
        for variant, scale in zip(frame["variant"], frame["scale"], strict=True)
    ]


def rates_chart(rates: pd.DataFrame, baseline: str) -> Chart:
    """Mean loss over the learning rate, a panel a variant, with the baseline's curve in each.

    Args:
        rates: `attnres_eval.analysis.rates.rates_table`, one size.
        baseline: label without a rate.
    """
    variants = list(dict.fromkeys(rates["variant"]))
    frame = rates.assign(base=rates["variant"], variant=_at_rates(rates)).reset_index(drop=True)
    frame["seeds"] = interval_texts(frame, "nats_low", "nats_high")
    labels = list(dict.fromkeys(frame["variant"]))
    # A variant has one look at all of its rates: each has its own panel.
    by_base = Looks.of(variants, variants)
    bases = dict(zip(frame["variant"], frame["base"], strict=True))
    looks = Looks({label: by_base.styles[bases[label]] for label in labels})
    low, top = loss_range(rates, baseline)
    shown = [name for name in variants if name != baseline] or variants
    panels = tuple(_rates_panel(frame, name, baseline, looks, (low, top)) for name in shown)
    return Chart(
        looks=looks,
        data={"rates": columns(frame)},
        panels=panels,
        columns=3,
    )


def _rates_panel(
    frame: pd.DataFrame, name: str, baseline: str, looks: Looks, ends: tuple[float, float]
) -> Panel:
    known = sorted(set(frame["learning_rate"].round(12)))
    x = alt.X(
        "learning_rate:Q",
        scale=alt.Scale(type="log", base=2, domain=[known[0] / 1.35, known[-1] * 1.35], nice=False),
        axis=alt.Axis(
            title="Peak learning rate",
            values=known[:: 2 if len(known) > 4 else 1],
            format="~g" if known[0] >= 1e-4 else ".1e",
        ),
    )
    y = alt.Y(
        "nats_per_token:Q",
        scale=alt.Scale(domain=list(ends), nice=False),
        axis=alt.Axis(title="Loss (nats per token)", format="~g", tickCount=4),
    )
    told = layers.tips(
        ("title:N", "title", ""),
        ("size:N", "Size", ""),
        ("learning_rate:Q", "Peak rate", layers.DIGITS),
        ("nats_per_token:Q", "Nats per token, mean", layers.DIGITS),
        ("seeds:N", "Least to greatest seed", ""),
        ("n_seeds:Q", "Seeds", ""),
    )
    own, base = layers.equal("base", name), layers.equal("base", baseline)
    above = f"datum.nats_per_token > {ends[1]!r}"
    within = f"datum.nats_per_token <= {ends[1]!r}"
    by_base = {
        row: looks.styles[label] for row, label in zip(frame["base"], frame["variant"], strict=True)
    }
    parts = []
    if name != baseline and baseline in by_base:
        parts.append(_curve(base, by_base[baseline], 1.0, x, y))
    parts += [
        _curve(own, by_base[name], 1.8, x, y),
        layers.bars(
            layers.rows("rates", own, *layers.known("nats_low", "nats_high")),
            looks,
            1.3,
            clip=True,
            x=x,
            y=alt.Y("nats_low:Q"),
            y2="nats_high:Q",
        ),
        layers.rows("rates", own, within, "datum.best")
        .mark_point(shape="circle", size=200, filled=False, opacity=1, strokeWidth=1.4, aria=False)
        .encode(x=x, y=y, color=looks.colour()),
        layers.points(layers.rows("rates", own, within), looks, 50, x=x, y=y, tooltip=told),
        layers.rows("rates", own, above)
        .mark_point(shape="triangle-up", filled=True, size=60, opacity=1, yOffset=5)
        .encode(x=x, y=alt.YDatum(ends[1]), color=looks.colour(), tooltip=told),
        layers.rows("rates", own, above)
        .mark_text(dy=18, fontSize=11, color=LIGHT.text)
        .encode(x=x, y=alt.YDatum(ends[1]), text=alt.Text("nats_per_token:Q", format=".2f")),
    ]
    labels = dict.fromkeys(frame.loc[frame["base"] == name, "variant"])
    return panel(parts, tuple(labels), height=170, title=label_title(name))


def _curve(condition: str, look: Style, width: float, x: alt.X, y: alt.Y) -> alt.Chart:
    """A variant's line through its rates, each of which is a label of its own."""
    return (
        layers.rows("rates", condition)
        .mark_line(strokeWidth=width, clip=True, color=look.colour, strokeDash=dash(look))
        .encode(x=x, y=y)
    )


def best_rates_chart(best: pd.DataFrame, baseline: str) -> Chart:
    """Each variant's difference to the baseline at the baseline's best rate and at its own.

    Args:
        best: `attnres_eval.analysis.rates.best_rates_table`, one size.
        baseline: label without a rate; it is the line at 0.
    """
    rows = best[best["variant"] != baseline].reset_index(drop=True)
    frame = rows.assign(base=rows["variant"], variant=_at_rates(rows))
    frame["row"] = layers.row_keys([row_name(row, ", ") for _, row in rows.iterrows()])
    for column, low, high in COMPARISONS:
        frame[f"{column}_interval"] = interval_texts(frame, low, high)
    labels = list(frame["variant"])
    found = Looks.of(list(rows["variant"]), [baseline, *rows["variant"]]).styles
    looks = Looks({label: found[base] for label, base in zip(labels, rows["variant"], strict=True)})
    base = label_title(baseline)
    y = alt.Y("row:N", axis=layers.row_axis())
    parts = [layers.reference(x=0.0)]
    for (column, low, high), shift, width in zip(COMPARISONS, (-5, 5), (1.3, 2.8), strict=True):
        own = column == "difference_at_best"
        told = layers.tips(
            ("title:N", "title", ""),
            ("learning_rate:Q", "Its best rate", layers.DIGITS),
            (f"{column}:Q", "At its best rate" if own else f"At {base}'s best rate", layers.SIGNED),
            (f"{column}_interval:N", "95% interval", ""),
            ("n_seeds:Q", "Seeds", ""),
        )
        x = alt.X(
            f"{column}:Q",
            scale=alt.Scale(padding=8),
            axis=alt.Axis(
                titleAnchor="end",
                title=[
                    f"Loss minus {base}'s at its best rate (nats per token)",
                    f"open: at {base}'s best rate; filled: at the variant's own",
                ],
                formatType="signed",
                tickCount=6,
            ),
        )
        bars = layers.rows("best_rates", *layers.known(low, high)).mark_rule(
            strokeWidth=width, yOffset=shift
        )
        parts.append(
            bars.encode(
                x=alt.X(f"{low}:Q"), x2=f"{high}:Q", y=y, color=looks.colour(), tooltip=told
            )
        )
        dots = layers.rows("best_rates", *layers.known(column)).mark_point(
            size=75,
            opacity=1,
            yOffset=shift,
            filled=own,
            strokeWidth=1.6,
            fill=alt.Undefined if own else LIGHT.page,
        )
        parts.append(dots.encode(x=x, y=y, color=looks.colour(), shape=looks.shape(), tooltip=told))
    return Chart(
        looks=looks,
        data={"best_rates": columns(frame)},
        panels=(panel(parts, height=32, rows="best_rates"),),
    )


def over_chart(
    rows: pd.DataFrame, labels: Sequence[str], baseline: str, dial: str, level: float | None = None
) -> Chart:
    """Mean loss over a dial, and beside it the difference to the baseline with its interval.

    Args:
        rows: variant, x, nats_per_token, nats_low, nats_high, difference, ci_low, ci_high.
        labels: what is drawn, in order.
        baseline: what differences are to.
        dial: name of the axis.
        level: the baseline's loss where it has no dial.
    """
    kept = [
        *("variant", "x", "size", "n_seeds", "nats_per_token", "nats_low", "nats_high"),
        *("difference", "ci_low", "ci_high"),
    ]
    frame = rows[kept].reset_index(drop=True)
    frame["seeds"] = interval_texts(frame, "nats_low", "nats_high")
    frame["interval"] = interval_texts(frame)
    looks = Looks.of(labels, [baseline, *labels])
    known = sorted({float(value) for value in frame["x"]})
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", base=2, domain=[known[0] / 1.2, known[-1] * 1.2], nice=False),
        axis=alt.Axis(title=dial, values=known, format="~g"),
    )
    told = layers.tips(
        ("title:N", "title", ""),
        ("x:Q", dial.removesuffix(" (log scale)"), layers.DIGITS),
        ("size:N", "Size", ""),
        ("nats_per_token:Q", "Nats per token, mean", layers.DIGITS),
        ("seeds:N", "Least to greatest seed", ""),
        ("difference:Q", "Minus the baseline's", layers.SIGNED),
        ("interval:N", "95% interval", ""),
        ("n_seeds:Q", "Seeds", ""),
    )
    base = label_title(baseline)
    left = [] if level is None else [layers.reference(y=level, name=base)]
    panels = []
    for before, column, low, high, title, signed in (
        (left, "nats_per_token", "nats_low", "nats_high", layers.NATS, False),
        ([layers.reference(y=0.0)], "difference", "ci_low", "ci_high", f"Minus {base}'s", True),
    ):
        y = alt.Y(
            f"{column}:Q",
            scale=alt.Scale(zero=False, padding=8),
            axis=layers.value_axis(title, signed=signed),
        )
        shown = layers.known(column)
        parts = [
            *before,
            *layers.curves("over", looks, (low, high), *shown, x=x, y=y, tooltip=told),
        ]
        panels.append(panel(parts, height=230))
    return Chart(
        looks=looks,
        data={"over": columns(frame)},
        panels=tuple(panels),
        columns=2,
        key=True,
    )
