"""How step time and peak memory grow with depth, sequence length and number of sources."""

from typing import Any

import numpy as np

from attnres_eval.bench.exponents import Array, Power, fit_power, slope
from attnres_eval.bench.ladders import LADDERS, Ladder
from attnres_eval.bench.memory import PROCESSES, UNKNOWN, peak_bytes
from attnres_eval.bench.names import LESS, MEMORY, TIME, points_of
from attnres_eval.bench.ours import default_precision
from attnres_eval.bench.plan import Plan
from attnres_eval.bench.rounds import once, summary
from attnres_eval.bench.rows import Row, measured_row
from attnres_eval.bench.sizes import bench_shape
from attnres_eval.bench.steps import BASE, step_times

Series = dict[str, Array]
"""By variant, PreNorm among them: values by point and round, (P, R)."""


def time_growth(ladder: Ladder, precision: str, rounds: int) -> Series:
    """Milliseconds of a step."""
    found: dict[str, list[list[float]]] = {name: [] for name in (BASE, *ladder.variants)}
    for point in ladder.points:
        setting = ladder.setting(point)
        shape = bench_shape(setting.size, setting.context)
        variants = {name: (name, setting.options.get(name, {})) for name in ladder.variants}
        times = step_times(shape, variants, precision, rounds, setting.tokens)
        for name, seconds in times.items():
            found[name].append([1e3 * one for one in seconds])
    return {name: np.array(values) for name, values in found.items()}


def memory_growth(ladder: Ladder, precision: str, processes: int) -> Series | None:
    """Peak MiB of a step; None where the system does not say."""
    found: dict[str, list[list[float]]] = {name: [] for name in (BASE, *ladder.variants)}
    for point in ladder.points:
        setting = ladder.setting(point)
        variants: dict[str, tuple[str, dict[str, Any]]] = {
            name: (name, setting.options.get(name, {})) for name in found
        }
        peaks = peak_bytes(
            setting.size, variants, precision, processes, setting.context, setting.tokens
        )
        if peaks is None:
            return None
        for name, values in peaks.items():
            found[name].append([value / 2**20 for value in values])
    return {name: np.array(values) for name, values in found.items()}


def own_power(ladder: Ladder, series: Series, variant: str) -> Power | None:
    """The exponent of a variant's cost less PreNorm's, round by round."""
    points = np.array(ladder.points, dtype=np.float64)
    return fit_power(points, series[variant] - series[BASE])


def counted_exponent(ladder: Ladder, variant: str) -> float:
    """The exponent that a fit to the counted FLOPs gives at the same points."""
    points = np.array(ladder.points, dtype=np.float64)
    counts = [ladder.counted(variant, point) for point in ladder.points]
    return slope(points, np.array(counts))


def rows_of(
    ladder: Ladder, unit: str, series: Series | None, precision: str, rounds: int
) -> list[Row]:
    """Every point of every variant, then the exponents of what is a variant's own."""
    common: dict[str, Any] = {"precision": precision, "rounds": rounds}
    if series is None:
        return [measured_row("growth", points_of(unit, ladder), None, None, note=UNKNOWN)]
    rows = []
    own = {name: series[name] - series[BASE] for name in ladder.variants}
    for what, shown in ((unit, series), (f"{unit} {LESS}", own)):
        for name, values in shown.items():
            for point, rounds_R in zip(ladder.points, values, strict=True):
                rows.append(
                    measured_row(
                        "growth",
                        points_of(what, ladder),
                        ladder.setting(point).size,
                        summary(list(rounds_R)),
                        variant=name,
                        at=float(point),
                        **common,
                    )
                )
    for name in ladder.variants:
        power = own_power(ladder, series, name)
        expected = (
            f"theory {ladder.theory[name]:g}, counted FLOPs at these points"
            f" {counted_exponent(ladder, name):.2f}"
        )
        if unit == MEMORY:
            expected = "bytes that are kept depend on the implementation"
        quantity = f"exponent over {ladder.name}: {unit}, {name} {LESS}"
        note = f"lost in noise; {expected}"
        if power is not None:
            note = f"95% interval {power.low:.2f} to {power.high:.2f}; {expected}"
        rows.append(
            measured_row(
                "growth",
                quantity,
                None,
                None if power is None else once(power.exponent),
                note=note,
                variant=name,
                **common,
            )
        )
    return rows


def measure(plan: Plan) -> list[Row]:
    """Points and exponents along every ladder, whatever sizes and variants the call names."""
    rows = []
    for ladder in LADDERS:
        first = ladder.setting(ladder.points[0])
        precision = plan.precision or default_precision(bench_shape(first.size))
        plan.say(f"growth: step time over {ladder.name}")
        times = time_growth(ladder, precision, plan.rounds)
        rows += rows_of(ladder, TIME, times, precision, plan.rounds)
        plan.say(f"growth: peak memory over {ladder.name}")
        peaks = memory_growth(ladder, precision, PROCESSES)
        rows += rows_of(ladder, MEMORY, peaks, precision, PROCESSES)
    return rows
