"""The chart of losses over compute: every run, the fitted curves, and the multipliers below."""

import altair as alt
import numpy as np
import pandas as pd

from attnres_eval.report.charts import layers
from attnres_eval.report.charts.chart import Chart, Columns, Option, Switch, columns, panel
from attnres_eval.report.charts.look import Looks
from attnres_eval.report.plot_scaling import (
    SECONDS_AXIS,
    Scaling,
    compute_range,
    has_band,
    implied_multipliers,
    multiplier_ends,
)
from attnres_eval.report.style import LIGHT

CURVE_POINTS = 40
SAME_RATIO = 1e-5
"""How far apart two runs' bits per nat may be: a table's digits are to be all of the difference."""

TIME_SUFFIX, BITS_SUFFIX = "_time", "_bits"
LOSSES = ("loss", "fit", "low", "high")


def bits_per_nat(runs: pd.DataFrame) -> float | None:
    """Bits per byte over nats per token, where all runs have the same; None where they differ."""
    ratios = (runs["bits_per_byte"] / runs["nats_per_token"]).dropna()
    if ratios.empty or ratios.max() > ratios.min() * (1 + SAME_RATIO):
        return None
    return float(ratios.median())


def scaling_chart(scaling: Scaling, losses: pd.DataFrame, timed: Scaling | None = None) -> Chart:
    """Loss over compute with each run's details; below it each run's compute multiplier.

    It switches to bits per byte, where runs share a tokenizer and a text, and to time, where times
    were calibrated.

    Args:
        scaling: what the figure shows; its points name their runs.
        losses: the table of losses, a row a run.
        timed: the same runs over calibrated seconds.
    """
    ratio = bits_per_nat(losses)
    data = _data(scaling, losses, ratio)
    if timed is not None:
        over_time = _data(timed, losses, ratio)
        data |= {f"{name}{TIME_SUFFIX}": rows for name, rows in over_time.items()}
    looks = Looks.of_legend(scaling.labels, scaling.places)
    panels = [panel(_losses(scaling, looks), height=330)]
    if scaling.curves and scaling.baseline in scaling.curves and len(scaling.points):
        panels.append(panel(_multipliers(scaling, looks), height=170))
    return Chart(
        looks=looks,
        data=data,
        panels=tuple(panels),
        key=True,
        switches=_switches(scaling, timed, ratio),
    )


def _switches(scaling: Scaling, timed: Scaling | None, ratio: float | None) -> tuple[Switch, ...]:
    switches = []
    if timed is not None:
        replaced = {name: f"{name}{TIME_SUFFIX}" for name in ("runs", "curves", "levels", "arrow")}
        replaced[scaling.axis.name] = SECONDS_AXIS.name
        replaced[_title(scaling)] = _title(timed)
        switches.append(Switch("Equal", (Option("FLOPs"), Option("time", replaced))))
    if ratio is not None:
        replaced = {name: f"{name}{BITS_SUFFIX}" for name in LOSSES}
        replaced[layers.NATS] = layers.BITS
        options = (Option("nats per token"), Option("bits per byte", replaced))
        switches.append(Switch("Loss in", options))
    return tuple(switches)


def _title(scaling: Scaling) -> str:
    return scaling.axis.multiplier.replace("\n", " ")


def _data(scaling: Scaling, losses: pd.DataFrame, ratio: float | None) -> dict[str, Columns]:
    """Runs, curves with their bands, and the levels of multipliers, each as columns."""
    points = scaling.points[["run", "compute"]]
    base = scaling.curves.get(scaling.baseline)
    if base is not None:
        points = points.assign(implied=implied_multipliers(base, scaling.points))
    own = losses.merge(points, on="run")
    own = own.rename(columns={"nats_per_token": "loss", "bits_per_byte": "loss_bits"})
    kept = [
        *("run", "variant", "size", "seed", "tokens", "flops", "loss", "loss_bits", "compute"),
        *(name for name in ("implied",) if name in own),
    ]
    data = {"runs": columns(own[kept])}
    if scaling.curves:
        data["curves"] = columns(_curves(scaling, ratio))
        data["levels"] = columns(_levels(scaling))
        data["arrow"] = columns(_arrow(scaling, ratio))
    return data


def _curves(scaling: Scaling, ratio: float | None) -> pd.DataFrame:
    compute = compute_range(scaling, CURVE_POINTS)
    base = scaling.curves.get(scaling.baseline)
    parts = []
    for label in scaling.labels:
        if label not in scaling.curves:
            continue
        part = pd.DataFrame(
            {"label": label, "compute": compute, "fit": scaling.curves[label].loss(compute)}
        )
        part["low"] = part["high"] = np.nan
        for _, row in scaling.multipliers[scaling.multipliers["variant"] == label].iterrows():
            if base is not None and has_band(scaling, label, row):
                part["low"] = base.loss(compute * row["ci_high"])
                part["high"] = base.loss(compute * row["ci_low"])
        parts.append(part)
    curves = pd.concat(parts, ignore_index=True)
    return _with_bits(curves, ratio)


def _with_bits(frame: pd.DataFrame, ratio: float | None) -> pd.DataFrame:
    """Losses of fits in bits per byte too, as far as the runs have one ratio of the two."""
    inside = [name for name in ("fit", "low", "high") if name in frame]
    factor = np.nan if ratio is None else ratio
    return frame.assign(**{f"{name}{BITS_SUFFIX}": frame[name] * factor for name in inside})


def _arrow(scaling: Scaling, ratio: float | None) -> pd.DataFrame:
    """From the headline variant's curve to the baseline's at the same loss; or no row."""
    rows = scaling.multipliers.dropna(subset=["multiplier"])
    rows = rows[(rows["variant"] == scaling.arrow) & rows["variant"].isin(list(scaling.curves))]
    found = pd.DataFrame(
        {
            "label": rows["variant"],
            "compute": rows["target"],
            "end": rows["target"] * rows["multiplier"],
            "fit": [
                float(scaling.curves[label].loss(np.array(target)))
                for label, target in zip(rows["variant"], rows["target"], strict=True)
            ],
            "text": [f"{factor:.2f}×" for factor in rows["multiplier"]],
            "saves": rows["multiplier"] >= 1,
        }
    )
    return _with_bits(found, ratio)


def _levels(scaling: Scaling) -> pd.DataFrame:
    """The multipliers with the ends of their intervals, and the baseline's 1."""
    rows = scaling.multipliers.dropna(subset=["multiplier"])
    rows = rows[["variant", "multiplier", "ci_low", "ci_high"]].reset_index(drop=True)
    base = pd.DataFrame({"variant": [scaling.baseline], "multiplier": [1.0]})
    return pd.concat([base, rows], ignore_index=True)


def _losses(scaling: Scaling, looks: Looks) -> list[alt.Chart]:
    compute = compute_range(scaling, CURVE_POINTS)
    x = alt.X(
        "compute:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=layers.power_axis(scaling.axis.name, compute_range(scaling, 2)),
    )
    y = alt.Y(
        "loss:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(title=layers.NATS, tickCount=6, format="~g"),
    )
    drawn: list[alt.Chart] = []
    if scaling.curves and len(compute):
        curves = layers.rows("curves")
        drawn.append(
            layers.bands(
                layers.rows("curves", *layers.known("low")),
                looks,
                x=x,
                y=alt.Y("low:Q"),
                y2="high:Q",
            )
        )
        drawn.append(layers.lines(curves, looks, x=x, y=alt.Y("fit:Q"), tooltip="title:N"))
    drawn.append(layers.points(layers.rows("runs"), looks, 75, x=x, y=y, tooltip=_run_tips()))
    return [*drawn, *_arrow_parts(looks, x)] if scaling.curves else drawn


def _arrow_parts(looks: Looks, x: alt.X) -> list[alt.Chart]:
    y, end = alt.Y("fit:Q"), alt.X("end:Q")
    colour = looks.colour()
    heads = [
        layers.rows("arrow", condition)
        .mark_point(shape=shape, filled=True, size=110, opacity=1, aria=False)
        .encode(x=end, y=y, color=colour)
        for condition, shape in (
            ("datum.saves", "triangle-right"),
            ("!datum.saves", "triangle-left"),
        )
    ]
    shaft = layers.rows("arrow").mark_rule(strokeWidth=2.4)
    told = layers.rows("arrow").mark_text(
        align="left", dx=9, dy=-9, color=LIGHT.text, fontSize=13, fontWeight=600
    )
    return [
        shaft.encode(x=x, x2="end:Q", y=y, color=colour),
        *heads,
        told.encode(x=end, y=y, text="text:N"),
    ]


def _run_tips() -> list[alt.Tooltip]:
    return layers.tips(
        ("run:N", "title", ""),
        ("title:N", "Variant", ""),
        ("size:N", "Size", ""),
        ("seed:Q", "Seed", ""),
        ("flops:Q", "FLOPs", layers.POWER),
        ("tokens:Q", "Tokens", layers.COUNT),
        ("loss:Q", "Nats per token", layers.DIGITS),
        ("loss_bits:Q", "Bits per byte", layers.DIGITS),
    )


def _multipliers(scaling: Scaling, looks: Looks) -> list[alt.Chart]:
    low, high = multiplier_ends(scaling)
    x = alt.X(
        "compute:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=layers.power_axis(scaling.axis.name, compute_range(scaling, 2)),
    )
    y = alt.Y(
        "implied:Q",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(title=_title(scaling), tickCount=5, format="~g"),
    )
    told = layers.tips(
        ("title:N", "title", ""),
        ("multiplier:Q", "Multiplier", layers.DIGITS),
        ("ci_low:Q", "95% interval from", layers.DIGITS),
        ("ci_high:Q", "to", layers.DIGITS),
    )
    banded = [
        row["variant"]
        for _, row in scaling.multipliers.iterrows()
        if has_band(scaling, row["variant"], row)
    ]
    span = layers.rows("levels", f"indexof({banded!r}, datum.label) >= 0").mark_rect(
        clip=True, opacity=0.14
    )
    level = layers.rows("levels").mark_rule(strokeWidth=1.6, clip=True)
    # As wide an axis as the curves above have.
    room = layers.rows("curves").mark_rule(opacity=0).encode(x=x)
    return [
        room,
        span.encode(color=looks.colour(), y=alt.Y("ci_low:Q"), y2="ci_high:Q"),
        level.encode(
            color=looks.colour(),
            strokeDash=looks.dash(),
            y=alt.Y("multiplier:Q"),
            tooltip=told,
        ),
        layers.points(
            layers.rows("runs", f"inrange(datum.implied, [{low!r}, {high!r}])"),
            looks,
            65,
            x=x,
            y=y,
            tooltip=[
                *_run_tips(),
                alt.Tooltip("implied:Q", title="Multiplier", format=layers.DIGITS),
            ],
        ),
    ]
