"""What stands behind `attnres-eval plan`: which table, or a Slurm script. Torch-free."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnres_eval.errors import UserError
from attnres_eval.files import write_text
from attnres_eval.hardware import parse_hardware
from attnres_eval.study import Study
from attnres_eval.study_file import load_parts, load_study
from attnres_eval.sweep.executor import cores
from attnres_eval.sweep.plan import plan_rows, total_seconds
from attnres_eval.sweep.plan_growth import growth_rows
from attnres_eval.sweep.plan_hardware import UTILISATION, Fleet, fleet, hardware_rows, memory_rows
from attnres_eval.sweep.plan_pipeline import pipeline_rows
from attnres_eval.sweep.plan_totals import total_rows
from attnres_eval.sweep.slurm import chosen_run, run_script, study_script

Say = Callable[[str], None]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """The options of the command; None where absent."""

    hardware: str | None = None
    utilisation: float | None = None
    gpus_per_run: int | None = None
    table: str | None = None
    pipeline_stages: int | None = None
    virtual_stages: int | None = None
    slurm: bool = False
    run: str | None = None
    out: str | None = None
    script: Path | None = None


def plan_study(name_or_path: str, workers: int | None, options: Options, say: Say) -> Rows | str:
    """The rows of the table that was asked for, or the text of a script.

    Raises:
        UserError: the study is wrong, or options are that do not go together.
    """
    _check(options)
    parts = load_parts(name_or_path)
    if options.hardware is None and options.pipeline_stages is None:
        return _here(parts, workers or cores(), say)
    study = load_study(name_or_path)
    if options.table == "pipeline" or options.pipeline_stages is not None:
        assert options.pipeline_stages is not None, "checked"
        return pipeline_rows(study, options.pipeline_stages, options.virtual_stages or 1)
    assert options.hardware is not None, "checked"
    by_ray = options.slurm and options.run is None
    used = fleet(
        study,
        parse_hardware(options.hardware),
        utilisation=UTILISATION if options.utilisation is None else options.utilisation,
        devices_a_run=options.gpus_per_run or (1 if by_ray else None),
    )
    if options.slurm:
        assert options.out is not None, "checked"
        if options.run is None:
            text = study_script(study, name_or_path, used, options.out)
        else:
            text = run_script(chosen_run(study, options.run), used, options.out)
        if options.script is None:
            return text
        write_text(options.script, text)
        return f"sbatch {options.script}\n"
    say(assumptions(used))
    if study.recipe.precision == "fp32":
        say("the study asks for fp32, whose peak is lower: its hours are more than these")
    tables: dict[str, Callable[[], Rows]] = {
        "runs": lambda: hardware_rows(study, used),
        "memory": lambda: memory_rows(study, used),
        "totals": lambda: total_rows(study, used),
        "growth": lambda: growth_rows(study, used),
    }
    return tables[options.table or "runs"]()


def _here(parts: dict[str, Study], processes: int, say: Say) -> Rows:
    """The runs of every part, with a sentence on what they take on this machine."""
    seconds = {name: total_seconds(study, processes) for name, study in parts.items()}
    of_each = ", ".join(f"{name} {one / 60:.1f}" for name, one in seconds.items())
    say(
        f"training takes about {sum(seconds.values()) / 60:.1f} minutes on {processes} cores of"
        f" this machine{f': {of_each}' if len(parts) > 1 else ''}"
    )
    if len(parts) == 1:
        return plan_rows(next(iter(parts.values())))
    return [{"part": name, **row} for name, study in parts.items() for row in plan_rows(study)]


def assumptions(used: Fleet) -> str:
    """In a sentence what the hardware's figures rest on."""
    device = used.cluster.device
    return (
        f"{used.cluster.devices} {device.title}, {used.devices_a_run} a run under FSDP2,"
        " by the recipe's micro-batches; hours are FLOPs /"
        f" ({device.flops_per_second / 1e12:,.4g} TFLOP/s dense bf16 x {used.utilisation:g}), an"
        f" assumption and no measurement; memory is a model of plain torch. Peak and memory:"
        f" {device.source}"
    )


def _check(options: Options) -> None:
    """Refuses options that would have no effect."""
    pipeline = options.table == "pipeline" or options.pipeline_stages is not None
    if pipeline and options.pipeline_stages is None:
        raise UserError("plan --table pipeline: give --pipeline-stages P")
    if options.pipeline_stages is not None and options.table not in (None, "pipeline"):
        raise UserError(f"plan --table {options.table}: --pipeline-stages has a table of its own")
    if options.virtual_stages is not None and not pipeline:
        raise UserError("plan --virtual-stages: give --pipeline-stages P with it")
    if options.hardware is None:
        for name, value in (
            ("--utilisation", options.utilisation),
            ("--gpus-per-run", options.gpus_per_run),
            ("--slurm", options.slurm or None),
            ("--table", None if pipeline or options.table == "runs" else options.table),
        ):
            if value is not None:
                raise UserError(f"plan {name}: give --hardware NAMExDEVICES with it, as h100x64")
    if options.slurm and options.out is None:
        raise UserError("plan --slurm: give --out, the folder or URL of the results")
    for name, given in (
        ("--run", options.run),
        ("--out", options.out),
        ("--script", options.script),
    ):
        if given is not None and not options.slurm:
            raise UserError(f"plan {name}: belongs to --slurm")
