"""The command `bench`: checks what is asked for, measures it, writes it. Torch-free by itself."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnres_eval.bench.plan import ROUNDS, SIZES, STUDIED, Plan
from attnres_eval.bench.record import latest, merged, read_rows, write_rows
from attnres_eval.bench.rows import SHOWN, Row
from attnres_eval.bench.sections import Section, chosen_sections
from attnres_eval.bench.sizes import bench_shape
from attnres_eval.errors import UserError
from attnres_eval.sweep.folder import read_study
from attnres_eval.variants import VARIANTS, parse_options

FIGURES = "figures"


def run_bench(
    variants: str | None,
    sizes: str | None,
    sections: str | None,
    *,
    rounds: int = ROUNDS,
    precision: str | None = None,
    results: Path | None = None,
    out: Path | None = None,
    say: Callable[[str], None],
) -> list[Row]:
    """Measures sections of the bench.

    Args:
        variants: names divided by commas, or `all`; those of the project's aims where absent.
        sizes: as in `d128x12`, divided by commas; the bench's own where absent.
        sections: names divided by commas; all where absent.
        rounds: interleaved rounds.
        precision: fp32 or bf16; what a run of each width takes by itself where absent.
        results: a study's results, of whose losses the figure of cost against loss is made.
        out: a folder for the rows, the README and the figures.
        say: told of what is going on.

    Raises:
        UserError: an unknown section or variant, a malformed size, or a variant that a size is
            too small for.
    """
    plan = Plan(
        say=say,
        variants=_variants(variants),
        sizes=tuple(sizes.split(",")) if sizes else SIZES,
        rounds=rounds,
        precision=precision,
        results=results,
    )
    chosen = chosen_sections(sections)
    _check(plan)
    if results is not None:
        read_study(results)
    earlier = [] if out is None else read_rows(out)
    say(f"about {minutes(chosen, plan):.0f} minutes where nothing else runs")
    rows: list[Row] = []
    for section in chosen:
        say(f"{section.name}: {section.title}")
        rows += _stamped(section.measure(plan))
        if out is not None:
            # After every section: what is measured survives an interruption.
            write_rows(out, merged(earlier, rows))
    if out is not None:
        _write_pages(merged(earlier, rows), out)
    return rows


def shown(rows: list[Row], format: str) -> list[dict[str, Any]]:
    """What is printed: every field for other programs, the main ones for readers."""
    every = [row.as_dict() for row in rows]
    if format in ("json", "csv"):
        return every
    return [{key: row[key] for key in SHOWN} for row in every]


def minutes(sections: list[Section], plan: Plan) -> float:
    """About how long the sections take."""
    share = len(plan.sizes) / len(SIZES)
    whole = sum(one.minutes * (share if one.by_size else 1) for one in sections)
    return whole * plan.rounds / ROUNDS


def _variants(names: str | None) -> tuple[str, ...]:
    if names is None:
        return STUDIED
    return tuple(VARIANTS) if names == "all" else tuple(dict.fromkeys(names.split(",")))


def _check(plan: Plan) -> None:
    for size in plan.sizes:
        shape = bench_shape(size)
        for name in plan.variants:
            try:
                parse_options(name, {}).check(shape)
            except ValueError as error:
                raise UserError(f"variant {name} at size {size}: {error}") from None


def _write_pages(rows: list[Row], out: Path) -> None:
    from attnres_eval.bench.figures import growth_figure, worth_figure
    from attnres_eval.bench.readme import write_readme

    drawn = latest(rows)
    figures = [growth_figure(drawn, out / FIGURES), worth_figure(drawn, out / FIGURES)]
    write_readme(out / "README.md", rows, [figure for figure in figures if figure is not None])


def _stamped(rows: list[Row]) -> list[Row]:
    import torch

    from attnres_eval.train.device import processor_name

    processor = processor_name(torch.device("cpu"))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return [row.stamped(processor, torch.__version__, today) for row in rows]
