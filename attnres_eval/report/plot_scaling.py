"""The scaling figure: loss over compute, and what each variant's compute is worth."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
)
from numpy.typing import ArrayLike

from attnres_eval.cost import PFLOPS_DAY
from attnres_eval.report.legend import legend_looks, legend_names
from attnres_eval.report.select import Curve, has_interval
from attnres_eval.report.style import (
    Style,
    Theme,
    label_title,
    most_columns,
    themed,
)

WIDTH = 7.0
"""Inches, of every figure."""
MOST_BANDS = 4
"""With more variants than this only the arrow's band is drawn: more would cover each other."""
WIDEST_MULTIPLIER = 4.0
"""The lower panel shows at most this factor on either side of 1; an interval may go on."""


@dataclass(frozen=True)
class ComputeAxis:
    """What is held equal, as an axis."""

    name: str
    """Of the lower axis."""
    unit_name: str
    unit: float
    """In the lower axis' unit; the upper axis counts in it where it is another."""
    multiplier: str
    """What a multiplier is called."""


FLOPS_AXIS = ComputeAxis(
    "Training compute (FLOPs)", "PFLOP/s-days", PFLOPS_DAY, "Compute multiplier"
)
SECONDS_AXIS = ComputeAxis(
    "Training time (calibrated seconds)", "seconds", 1.0, "Multiplier\nat equal time"
)


@dataclass(frozen=True)
class Scaling:
    """What the scaling figure shows."""

    labels: list[str]
    """In the order of the legend; the baseline among them."""
    baseline: str
    points: pd.DataFrame
    """label, compute (of the lower axis), loss (nats per token); one row a run."""
    curves: dict[str, Curve]
    multipliers: pd.DataFrame
    """variant, target (of the lower axis), multiplier, ci_low, ci_high; one row a variant."""
    arrow: str | None
    """The label whose multiplier is drawn as an arrow."""
    same_everywhere: bool = True
    """Whether a variant's multiplier is the same at every compute, as one exponent makes it."""
    open_points: bool = False
    """Whether the points count compute in another convention than the curves."""
    axis: ComputeAxis = FLOPS_AXIS
    report_labels: tuple[str, ...] = ()
    """All labels of the report, so that colours are those of the other figures; by default those
    of this one."""
    apart: tuple[str, ...] = ()
    """Labels whose seeds stand apart: their runs do not widen the lower panel."""

    @property
    def places(self) -> tuple[str, ...]:
        """The labels that looks are given to."""
        return self.report_labels or tuple(self.labels)


def draw_scaling(scaling: Scaling, theme: Theme) -> Figure:
    """Loss over compute on log axes; below it each run's compute multiplier.

    The band of a variant is its multiplier's interval: under one exponent for all variants, a
    variant's curve is the baseline's at `multiplier` times the compute.
    """
    with themed(theme):
        looks = legend_looks(scaling.labels, scaling.places, theme)
        below = not scaling.open_points and _has_multipliers(scaling)
        height = (6.6 if below else 4.9) + legend_inches(len(legend_names(scaling.labels)))
        figure = Figure(figsize=(WIDTH, height))
        if below:
            upper, lower = figure.subplots(
                2, 1, sharex=True, gridspec_kw={"height_ratios": [2.1, 1]}
            )
        else:
            upper, lower = figure.subplots(), None
        compute = compute_range(scaling)
        for label in scaling.labels:
            _curve(upper, scaling, label, looks[label], compute, theme)
        _arrow(upper, scaling, looks, theme)
        _compute_axis(upper, compute, scaling.axis)
        _plain_log_ticks(upper)
        upper.set_ylabel("Validation loss (nats per token)")
        bottom = upper
        if lower is not None:
            _multiplier_panel(lower, scaling, looks, compute, theme)
            bottom = lower
        bottom.set_xlabel(scaling.axis.name)
        handles, names = upper.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=legend_columns(len(names)))
        return figure


def has_band(scaling: Scaling, label: str, row: pd.Series) -> bool:
    """Whether the interval of a multiplier is drawn."""
    few = len(scaling.labels) <= MOST_BANDS
    return scaling.same_everywhere and has_interval(row) and (few or label == scaling.arrow)


def draw_line(axes: Axes, x: ArrayLike, y: ArrayLike, look: Style, label: str, kind: str) -> None:
    """One variant's points with a line through them, named in the legend.

    Args:
        axes: where.
        x: of the points.
        y: of the points.
        look: the variant's.
        label: the variant.
        kind: what is drawn; the line's gid is `<kind>-<label>`.
    """
    axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        label=label_title(label),
        gid=f"{kind}-{label}",
    )


def draw_upright_intervals(axes: Axes, x: ArrayLike, rows: pd.DataFrame, look: Style) -> None:
    """The intervals `ci_low` to `ci_high` of `rows` at each of `x`, where there are any."""
    for place, (_, row) in zip(np.asarray(x), rows.iterrows(), strict=True):
        if has_interval(row):
            ends = [row["ci_low"], row["ci_high"]]
            axes.plot([place, place], ends, color=look.colour, linewidth=1.5)


def legend_columns(n_names: int) -> int:
    """Columns of a legend as wide as the figure."""
    return 2 if n_names == 4 and most_columns() > 1 else min(most_columns(), n_names)


def legend_inches(n_names: int) -> float:
    """What the second row and those after it add to a figure's height."""
    return 0.22 * (-(-n_names // max(1, legend_columns(n_names))) - 1)


def _has_multipliers(scaling: Scaling) -> bool:
    return scaling.baseline in scaling.curves and not scaling.points.empty


def compute_range(scaling: Scaling, n_points: int = 100) -> np.ndarray:
    """The compute at which curves are drawn: all points and arrows, with a margin."""
    ends = [*scaling.points["compute"]]
    targets = scaling.multipliers.dropna(subset=["multiplier"])
    ends += [*targets["target"]]
    ends += [*(targets["target"] * targets["multiplier"])]
    low, high = min(ends), max(ends)
    margin = max((high / low) ** 0.06, 1.05)
    return np.geomspace(low / margin, high * margin, n_points)


def _name(scaling: Scaling, label: str) -> str | None:
    """In the legend; None where another label bears its variant's name there."""
    name = legend_names(scaling.labels).get(label)
    rows = scaling.multipliers[scaling.multipliers["variant"] == label]
    known = rows["multiplier"].dropna()
    return name and name + (f" ({known.iloc[0]:.2f}×)" if len(known) else "")


def _curve(
    axes: Axes, scaling: Scaling, label: str, look: Style, compute: np.ndarray, theme: Theme
) -> None:
    own = scaling.points[scaling.points["label"] == label]
    axes.plot(
        own["compute"],
        own["loss"],
        linestyle="none",
        marker=look.marker,
        color=look.colour,
        markerfacecolor="none" if scaling.open_points else look.colour,
        markeredgecolor=look.colour if scaling.open_points else theme.page,
        markeredgewidth=1.2 if scaling.open_points else 0.6,
        label=None if label in scaling.curves else _name(scaling, label),
        gid=f"points-{label}",
        zorder=3,
    )
    if label not in scaling.curves:
        return
    axes.plot(
        compute,
        scaling.curves[label].loss(compute),
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markevery=[],
        label=_name(scaling, label),
        gid=f"curve-{label}",
    )
    base = scaling.curves.get(scaling.baseline)
    for _, row in scaling.multipliers[scaling.multipliers["variant"] == label].iterrows():
        if base is not None and has_band(scaling, label, row):
            axes.fill_between(
                compute,
                base.loss(compute * row["ci_low"]),
                base.loss(compute * row["ci_high"]),
                color=look.colour,
                alpha=0.15,
                linewidth=0,
                gid=f"band-{label}",
            )


def _arrow(axes: Axes, scaling: Scaling, looks: dict[str, Style], theme: Theme) -> None:
    rows = scaling.multipliers[scaling.multipliers["variant"] == scaling.arrow]
    rows = rows.dropna(subset=["multiplier"])
    if rows.empty or scaling.arrow not in scaling.curves:
        return
    row = rows.iloc[0]
    start = float(row["target"])
    end = start * float(row["multiplier"])
    loss = float(scaling.curves[scaling.arrow].loss(np.array(start)))
    colour = looks[scaling.arrow].colour
    axes.annotate(
        "",
        xy=(end, loss),
        xytext=(start, loss),
        arrowprops={
            "arrowstyle": "-|>,head_width=0.28,head_length=0.5",
            "color": colour,
            "linewidth": 2.2,
            "shrinkA": 0,
            "shrinkB": 0,
        },
        zorder=5,
    )
    axes.annotate(
        f"{label_title(scaling.arrow)}: {row['multiplier']:.2f}×\n"
        f"at {power_label(start / scaling.axis.unit)} {scaling.axis.unit_name}",
        xy=((start * end) ** 0.5, loss),
        xytext=(12, 84),
        textcoords="offset points",
        ha="right",
        color=theme.text,
        arrowprops={"arrowstyle": "-", "color": theme.quiet, "linewidth": 0.9, "shrinkB": 5},
        gid="arrow-text",
        zorder=5,
    )


def power_label(value: float, digits: int = 2) -> str:
    """A number of an axis: plain where it is short, else as a power of ten in math text.

    Args:
        value: the number.
        digits: significant ones of a power of ten's factor, at most; a plain number has one more.
    """
    if 0.01 <= value < 1000:
        return f"{value:.{digits + 1}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").removesuffix(".") if "." in mantissa else mantissa
    factor = "" if mantissa == "1" else rf"{mantissa}\times"
    return rf"${factor}10^{{{int(exponent)}}}$"


def _compute_axis(axes: Axes, compute: np.ndarray, kind: ComputeAxis) -> None:
    axes.set_xscale("log")
    axes.set_xlim(compute[0], compute[-1])
    shown = [axes.xaxis]
    if kind.unit != 1:
        top = axes.secondary_xaxis(
            "top",
            functions=(
                lambda x: np.asarray(x, dtype=np.float64) / kind.unit,
                lambda x: np.asarray(x, dtype=np.float64) * kind.unit,
            ),
        )
        top.set_xlabel(kind.unit_name)
        shown.append(top.xaxis)
    for axis, unit in zip(shown, (1.0, kind.unit), strict=False):
        ticks = compute_ticks(compute[0] / unit, compute[-1] / unit)
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_major_formatter(FixedFormatter(list(ticks.values())))
        axis.set_minor_locator(NullLocator())


FEWEST_TICKS, MOST_DIGITS = 3, 6


def compute_ticks(low: float, high: float) -> dict[float, str]:
    """Round numbers between the ends of a log axis with their labels, no two of which are alike.

    They are powers of ten, with 2 and 5 times those where that is not too many; on an axis so
    narrow that it has too few of these, multiples of one round number.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 10**2.5 else (1,)
    # Through text, so that a tick is the float next to the number that its label has.
    marks = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    marks = [mark for mark in marks if low <= mark <= high]
    if len(marks) < FEWEST_TICKS:
        found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        marks = [float(f"{mark:.{MOST_DIGITS}g}") for mark in found if low <= mark <= high]
    for digits in range(2, MOST_DIGITS + 1):
        labels = [power_label(mark, digits) for mark in marks]
        if len(set(labels)) == len(marks) and all(
            math.isclose(float(f"{mark:.{digits}g}"), mark, rel_tol=1e-9) for mark in marks
        ):
            break
    return dict(zip(marks, labels, strict=True))


def _plain_log_ticks(axes: Axes) -> None:
    """Ticks at round numbers, written out: a loss spans far less than a decade."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def implied_multipliers(base: Curve, points: pd.DataFrame) -> pd.Series:
    """Each run's loss read on the baseline's curve: the compute there over the run's own."""
    implied = base.compute(points["loss"].to_numpy()) / points["compute"].to_numpy()
    return pd.Series(implied, index=points.index)


def multiplier_ends(scaling: Scaling) -> tuple[float, float]:
    """The ends of the lower panel: all but what stands apart, up to `WIDEST_MULTIPLIER`."""
    alike = scaling.points[~scaling.points["label"].isin(scaling.apart)]
    implied = implied_multipliers(scaling.curves[scaling.baseline], alike)
    shown = [1.0, *implied[np.isfinite(implied)]]
    rows = scaling.multipliers.dropna(subset=["multiplier"]) if scaling.same_everywhere else None
    for _, row in rows.iterrows() if rows is not None else ():
        shown.append(row["multiplier"])
        if has_band(scaling, row["variant"], row):
            shown += [row["ci_low"], row["ci_high"]]
    low = max(min(shown) / 1.03, 1 / WIDEST_MULTIPLIER)
    high = min(max(shown) * 1.03, WIDEST_MULTIPLIER)
    return low, high


def beyond_panel(scaling: Scaling) -> dict[str, int]:
    """How many runs of a label the lower panel does not show; labels without any left out."""
    if not _has_multipliers(scaling):
        return {}
    low, high = multiplier_ends(scaling)
    implied = implied_multipliers(scaling.curves[scaling.baseline], scaling.points)
    beyond = scaling.points["label"][~implied.between(low, high)]
    return {label: n for label in scaling.labels if (n := int((beyond == label).sum()))}


def _multiplier_panel(
    axes: Axes, scaling: Scaling, looks: dict[str, Style], compute: np.ndarray, theme: Theme
) -> None:
    base = scaling.curves[scaling.baseline]
    for label in scaling.labels:
        look = looks[label]
        own = scaling.points[scaling.points["label"] == label]
        axes.plot(
            own["compute"],
            implied_multipliers(base, own),
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markeredgecolor=theme.page,
            markeredgewidth=0.6,
            gid=f"implied-{label}",
            zorder=3,
        )
        for _, row in scaling.multipliers[scaling.multipliers["variant"] == label].iterrows():
            if not scaling.same_everywhere or np.isnan(row["multiplier"]):
                continue
            axes.axhline(row["multiplier"], color=look.colour, linestyle=look.line)
            if has_band(scaling, label, row):
                axes.axhspan(
                    row["ci_low"], row["ci_high"], color=look.colour, alpha=0.12, linewidth=0
                )
    axes.axhline(1.0, color=looks[scaling.baseline].colour, linestyle="-", linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylim(*multiplier_ends(scaling))
    _plain_log_ticks(axes)
    axes.set_ylabel(scaling.axis.multiplier)
