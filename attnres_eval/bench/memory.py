"""Peak memory of a training step over PreNorm's, each measured in processes of its own."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attnres_eval.bench.child import ask
from attnres_eval.bench.ours import default_precision
from attnres_eval.bench.plan import REPORTED_ONLY, Plan
from attnres_eval.bench.rounds import summary
from attnres_eval.bench.rows import Aim, Row, measured_row
from attnres_eval.bench.sizes import CONTEXT, TOKENS_A_STEP, bench_shape
from attnres_eval.bench.steps import BASE
from attnres_eval.sweep.executor import cores

AIMS = {"block_attnres": Aim(1.10), "full_attnres": Aim(1.15)}
PROCESSES = 3
UNKNOWN = "this system does not say how much memory a process holds"


def peak_bytes(
    size: str,
    variants: dict[str, tuple[str, dict[str, Any]]],
    precision: str,
    processes: int = PROCESSES,
    context: int = CONTEXT,
    tokens: int = TOKENS_A_STEP,
) -> dict[str, list[int]] | None:
    """Bytes that a step adds to a process, by label, one a process; None where it is not known."""

    def asked(label: str) -> int | None:
        name, options = variants[label]
        arguments = {
            "size": size,
            "variant": name,
            "options": options,
            "precision": precision,
            "context": context,
            "tokens": tokens,
        }
        value: int | None = ask("resident", arguments)
        return value

    # No clock runs, so that processes need not take turns.
    with ThreadPoolExecutor(cores()) as pool:
        values = list(pool.map(asked, list(variants) * processes))
    found: dict[str, list[int]] = {label: [] for label in variants}
    for label, value in zip(list(variants) * processes, values, strict=True):
        if value is None:
            return None
        found[label].append(value)
    return found


def measure(plan: Plan) -> list[Row]:
    """Rows of every variant and size, and PreNorm's own peak."""
    rows = []
    for size in plan.sizes:
        precision = plan.precision or default_precision(bench_shape(size))
        names = dict.fromkeys((BASE, *plan.variants))
        plan.say(f"memory: {size}, {precision}: {', '.join(names)}")
        found = peak_bytes(size, {name: (name, {}) for name in names}, precision)
        for name in names:
            base = name == BASE
            quantity = f"peak memory of a training step, {name} over {BASE}"
            values: list[float] = []
            if found is not None and base:
                values = [value / 2**20 for value in found[name]]
            elif found is not None:
                pairs = zip(found[name], found[BASE], strict=True)
                values = [one / other for one, other in pairs]
            rows.append(
                measured_row(
                    "memory",
                    f"peak memory of a training step of {BASE}, MiB" if base else quantity,
                    size,
                    summary(values) if values else None,
                    aim=None if size in REPORTED_ONLY else AIMS.get(name),
                    precision=precision,
                    rounds=PROCESSES,
                    note=None if values else UNKNOWN,
                )
            )
    return rows
