"""The command line: each command parses, calls one function, and prints."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from attnres_eval.errors import UNWRITABLE, UserError, cannot_be_written, out_of_memory
from attnres_eval.interrupt import ending_on_interrupt

# torch and lm-eval take seconds to import: commands import what they need when they run.

app = typer.Typer(
    name="attnres-eval",
    help="Evidence for choosing a residual connection: train, score, fit, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    # Importing what rich needs to draw help takes longer than all else that --help does.
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},
)

Format = Annotated[
    Literal["table", "csv", "json", "markdown", "latex"],
    typer.Option("--format", help="How to print the table."),
]
StudyName = Annotated[str, typer.Argument(help="A study's YAML file, or a bundled study's name.")]
ResultsName = Annotated[str, typer.Argument(help="A results folder of a study, or its URL.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of benchmarks: gpqa/, mmlu_pro/, bbh/, cmath/."),
]
Workers = Annotated[
    int | None, typer.Option(help="Processes; by default one an accelerator, or one a core.", min=1)
]
Track = Annotated[
    str | None,
    typer.Option(help="Log to trackio, wandb or tensorboard, or several divided by commas."),
]
TrackProject = Annotated[
    str | None, typer.Option(help="What --track calls the project; the study's name by default.")
]


def _print(rows: Any, format: str) -> None:
    from attnres_eval.report.formats import format_table

    print(format_table(rows, format))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def plan(
    study: StudyName,
    workers: Workers = None,
    hardware: Annotated[
        str | None, typer.Option(help="Accelerators such as h100x64, to price the study on.")
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option(help="Share of their peak that training reaches; 0.4.")
    ] = None,
    gpus_per_run: Annotated[
        int | None, typer.Option(min=1, help="Devices that share one run; those of a node.")
    ] = None,
    table: Annotated[
        Literal["runs", "memory", "totals", "growth", "pipeline"] | None,
        typer.Option(help="What to print; runs by default."),
    ] = None,
    pipeline_stages: Annotated[
        int | None, typer.Option(min=1, help="P: price what stages would send each other.")
    ] = None,
    virtual_stages: Annotated[
        int | None, typer.Option(min=1, help="V: virtual stages of each stage.")
    ] = None,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Print a batch script: the study by Ray.")
    ] = False,
    run: Annotated[str | None, typer.Option(help="Of --slurm: this one run, by torchrun.")] = None,
    out: Annotated[
        str | None, typer.Option(help="Of --slurm: folder or URL of the results.")
    ] = None,
    script: Annotated[
        Path | None, typer.Option(help="Of --slurm: write the script to this file.")
    ] = None,
    format: Format = "table",
) -> None:
    """Print every run of a study with its price, before anything is spent."""
    from attnres_eval.sweep.plan_command import Options, plan_study

    options = Options(
        hardware=hardware,
        utilisation=utilisation,
        gpus_per_run=gpus_per_run,
        table=table,
        pipeline_stages=pipeline_stages,
        virtual_stages=virtual_stages,
        slurm=slurm,
        run=run,
        out=out,
        script=script,
    )
    planned = plan_study(study, workers, options, _say)
    if isinstance(planned, str):
        print(planned, end="")
    else:
        _print(planned, format)


@app.command()
def variants(
    name: Annotated[str | None, typer.Argument(help="One variant: its documentation.")] = None,
    d_model: Annotated[int, typer.Option(min=2, max=2**20)] = 512,
    layers: Annotated[int, typer.Option(min=1, max=4096, help="Transformer blocks.")] = 16,
    heads: Annotated[int, typer.Option(min=1)] = 8,
    vocab: Annotated[int, typer.Option(min=1, max=2**31)] = 32_000,
    context: Annotated[int, typer.Option(min=1, max=2**31)] = 2048,
    family: Annotated[str | None, typer.Option(help="Part of a family's name.")] = None,
    format: Format = "table",
) -> None:
    """List the residual variants with source and price at a size, or explain one."""
    from attnres_eval.catalogue import (
        BRIEF,
        catalogue_rows,
        chosen_variants,
        decoder,
        variant_text,
    )

    shape = decoder(d_model, layers, heads, vocab, context)
    chosen = chosen_variants(name, family)
    if name is not None and format == "table":
        print(variant_text(chosen[0], shape))
    else:
        brief = format == "table"
        _print(catalogue_rows(shape, chosen, brief=brief), format)
        if brief:
            _say(BRIEF)


@app.command()
def reproduce(
    out: Annotated[str, typer.Option(help="Folder of the results, or a URL: s3://bucket/name.")],
    study: Annotated[str | None, typer.Option(help="A study's file or name.")] = None,
    source: Annotated[
        Literal["paper"] | None, typer.Option(help="Draw published numbers instead.")
    ] = None,
    force: Annotated[
        bool, typer.Option(help="Take over a folder whose study differs; its runs go.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no run after so many; score and report what there is."),
    ] = None,
    workers: Workers = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray's: auto or HOST:PORT; Ray's own choice by default.")
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(help="Of Ray, at most 1; by default 1 where there are any.", min=0),
    ] = None,
    data_dir: DataDir = None,
    track: Track = None,
    track_project: TrackProject = None,
    format: Format = "table",
) -> None:
    """Run a study from end to end, or reproduce the published plot; finished runs are kept."""
    if (study is None) == (source is None):
        raise UserError("reproduce: give either --study NAME or --source paper")
    from attnres_eval.track.tracking import Tracking

    tracking = Tracking.parse(track, track_project)
    from attnres_eval.reproduce import Options, reproduce_published, reproduce_study

    options = Options(
        force=force,
        minutes=minutes,
        workers=workers,
        executor=executor,
        address=address,
        gpus_per_run=gpus_per_run,
        data_dir=data_dir,
        tracking=tracking,
    )
    if study is None:
        done = reproduce_published(out, options, format)
    else:
        done = reproduce_study(study, out, options, format, _say)
    print(done.table)
    print(f"report: {done.page}")
    if done.left:
        _say(f"{done.left} runs are left; the same command goes on with them")
    if done.failures:
        raise UserError(f"{done.failures} runs failed; the report shows them as missing")


@app.command()
def watch(
    results: ResultsName,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one view, and end.")] = False,
) -> None:
    """Show runs, loss curves and time left while a study runs elsewhere; reads, never writes."""
    from attnres_eval.watch.command import watch as watch_results

    watch_results(results, interval, once=once)


@app.command()
def train(
    study: StudyName,
    label: Annotated[str, typer.Option(help="The variant's label in the study.")],
    size: Annotated[str, typer.Option(help="The size's name in the study.")],
    out: Annotated[str, typer.Option(help="Folder of this one run.")],
    seed: Annotated[int | None, typer.Option(help="The study's first seed by default.")] = None,
    track: Track = None,
    track_project: TrackProject = None,
    format: Format = "table",
) -> None:
    """Train one run of a study, or continue it."""
    if "://" in out:
        raise UserError(f"train writes to a folder, not to {out}; reproduce takes URLs")
    from attnres_eval.track.tracking import Tracking

    tracking = Tracking.parse(track, track_project)
    from attnres_eval.track.train import train_tracked

    _print([train_tracked(study, label, size, seed, Path(out), tracking, _say)], format)


@app.command()
def tasks(
    suite: Annotated[str | None, typer.Option(help="paper or small; all by default.")] = None,
    data_dir: DataDir = None,
    format: Format = "table",
) -> None:
    """List the suites and our own tasks: chance level, size, and where their data are."""
    from attnres_eval.evaluate.listing import missing_lines, task_rows

    rows = task_rows(suite, data_dir)
    if format == "table":
        short = [{k: v for k, v in row.items() if k != "missing_offline"} for row in rows]
        _print(short, format)
        for line in missing_lines(rows):
            _say(line)
    else:
        _print(rows, format)


@app.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(help="Checkpoint folders or hub names.")],
    tasks: Annotated[
        str | None, typer.Option(help="Names of lm-eval tasks, divided by commas.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Instead: paper or small; says what of it is missing.")
    ] = None,
    num_fewshot: Annotated[int | None, typer.Option(min=0)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions a task, the first.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    output_path: Annotated[
        Path | None, typer.Option(help="Folder for lm-eval's own files, samples included.")
    ] = None,
    data_dir: DataDir = None,
    backend: Annotated[
        Literal["attnres", "hf"], typer.Option(help="Our adapter, or lm-eval's own.")
    ] = "attnres",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option()] = "fp32",
    confirm_run_unsafe_code: Annotated[
        bool,
        typer.Option(
            "--confirm-run-unsafe-code",
            "--confirm_run_unsafe_code",
            help="Run code that the model writes (HumanEval, MBPP), as lm-eval's flag says.",
        ),
    ] = False,
    format: Format = "table",
) -> None:
    """Score checkpoints of ours, or any Hugging Face model, through lm-eval."""
    if (tasks is None) == (suite is None):
        raise UserError("evaluate: give either --tasks NAMES or --suite NAME")
    from attnres_eval.evaluate.command import evaluate_models, evaluate_suite

    options: dict[str, Any] = {
        "num_fewshot": num_fewshot,
        "limit": limit,
        "batch_size": batch_size,
        "output_path": output_path,
        "data_dir": data_dir,
        "backend": backend,
        "precision": precision,
        "confirm_run_unsafe_code": confirm_run_unsafe_code,
    }
    if tasks is not None:
        rows = evaluate_models(models, tasks.split(","), **options)
    else:
        assert suite is not None
        rows = evaluate_suite(models, suite, _say, **options)
    _print(rows, format)


@app.command()
def inspect(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint folder.")],
    out: Annotated[Path | None, typer.Option(help="Folder for tables and figures.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to score, the first.")] = 8192,
    text: Annotated[
        Path | None, typer.Option(help="A file of plain text; the run's held-out text by default.")
    ] = None,
    format: Format = "table",
) -> None:
    """Show what each sublayer does: magnitude, gradient, cost of skipping, and who reads whom."""
    from attnres_eval.inspection.run import inspect_path
    from attnres_eval.report.inspected import sublayer_table, write_inspected

    found = inspect_path(checkpoint, tokens, text)
    if out is not None:
        write_inspected(found.label, found.size, found.record, out)
    _print(sublayer_table(found.record), format)
    _say(f"loss {found.record.loss:.4f} nats per token on {found.record.tokens:,} tokens")


@app.command(
    "lm-eval",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def lm_eval(context: typer.Context) -> None:
    """Run lm-eval's own command with our models and tasks registered."""
    from attnres_eval.evaluate.command import run_lm_eval

    run_lm_eval(context.args)


@app.command()
def calibrate(
    results: ResultsName,
    rounds: Annotated[
        int | None, typer.Option(min=6, help="Turns of each pair; the study's number by default.")
    ] = None,
    format: Format = "table",
) -> None:
    """Time a study's training steps side by side on this machine, anew; leave it idle meanwhile."""
    from attnres_eval.analysis.step_times import step_times_table
    from attnres_eval.sweep.calibration import calibrate_folder
    from attnres_eval.sweep.storage import results_folder

    with results_folder(results) as (folder, _):
        study, calibration = calibrate_folder(folder, rounds)
    _print(step_times_table(study, calibration), format)
    _say(f"to have it in tables and page: attnres-eval report {results}")


@app.command()
def report(
    results: Annotated[
        list[str],
        typer.Argument(
            help="A results folder of a study, or its URL. Several are compared on one page; one"
            " with parts then stands for the part that its page opens with."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Of several: folder of the page, its table and figures.")
    ] = None,
) -> None:
    """Rebuild tables, figures and report from a folder's records, or set studies side by side."""
    from attnres_eval.report.command import report_on

    print(f"report: {report_on(results, out)}")


@app.command()
def export(
    results: ResultsName,
    table: Annotated[
        str | None, typer.Option(help="losses, differences, fits, multipliers ...")
    ] = None,
    figures: Annotated[
        Literal["pdf", "svg", "png"] | None,
        typer.Option(help="Instead of a table: write every figure, with captions."),
    ] = None,
    style: Annotated[
        Literal["paper", "report"] | None,
        typer.Option(
            help="Of --figures. paper, the default: light, as wide as a column or the text, letters"
            " of 8 to 9 points; report: as on the page, light and dark."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Of --figures: their folder; figures/STYLE in RESULTS by default."),
    ] = None,
    format: Annotated[
        Literal["table", "csv", "json", "markdown", "latex"] | None,
        typer.Option("--format", help="Of --table: how to print it; table by default."),
    ] = None,
) -> None:
    """Print one table of a results folder, or write its figures for a paper."""
    from attnres_eval.report.export import Wanted, export_results

    wanted = Wanted(table=table, figures=figures, style=style, out=out, format=format)
    print(export_results(results, wanted))


@app.command()
def fit(
    file: Annotated[Path, typer.Argument(help="A CSV file, one row a run.")],
    form: Annotated[
        Literal["power", "parametric"],
        typer.Option(
            help="power: columns label, compute, loss, and seed and size where there are any;"
            " parametric: columns params, tokens, loss."
        ),
    ] = "power",
    baseline: Annotated[
        str | None, typer.Option(help="Label to compare with; the file's first by default.")
    ] = None,
    table: Annotated[
        Literal["multipliers", "fits"], typer.Option(help="Which table of the power laws.")
    ] = "multipliers",
    format: Format = "table",
) -> None:
    """Fit scaling curves to the runs of any CSV file: power laws with multipliers, or L(N, D)."""
    from attnres_eval.analysis.fit_file import parametric_row, power_tables

    if form == "parametric":
        if baseline is not None:
            raise UserError("fit: --baseline is for --form power")
        _print([parametric_row(file)], format)
        return
    fits, found = power_tables(file, baseline)
    _print(found if table == "multipliers" else fits, format)


@app.command()
def power(
    results: Annotated[Path, typer.Argument(help="A results folder: its sizes, noise, exponent.")],
    multipliers: Annotated[
        str, typer.Option(help="True multipliers, divided by commas.")
    ] = "1,1.05,1.1,1.25",
    seeds: Annotated[str, typer.Option(help="Numbers of seeds, divided by commas.")] = "2,3,5,10",
    format: Format = "table",
) -> None:
    """Simulate what a study's design can see: bias, coverage and power of its multipliers."""
    from attnres_eval.analysis.collect import collect
    from attnres_eval.analysis.power import power_table

    try:
        truths = [float(word) for word in multipliers.split(",")]
        numbers = [int(word) for word in seeds.split(",")]
    except ValueError as error:
        raise UserError(f"power: numbers divided by commas are wanted ({error})") from None
    _print(power_table(collect(results), truths, numbers), format)


@app.command()
def bench(
    variants: Annotated[
        str | None, typer.Option(help="Names divided by commas, or all.", show_default=False)
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Decoders such as d128x12, divided by commas.")
    ] = None,
    section: Annotated[
        str | None, typer.Option(help="Parts of the bench, divided by commas; all by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Interleaved rounds.")] = 11,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="auto is what a run of the width takes.")
    ] = "auto",
    results: Annotated[
        Path | None, typer.Option(help="A study's results, to draw cost against loss.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for rows, README and figures.")] = None,
    format: Format = "table",
) -> None:
    """Measure the cost of residuals on this machine, against public implementations too."""
    from attnres_eval.bench.command import run_bench, shown

    rows = run_bench(
        variants,
        size,
        section,
        rounds=rounds,
        precision=None if precision == "auto" else precision,
        results=results,
        out=out,
        say=_say,
    )
    _print(shown(rows, format), format)


def main() -> None:
    """Runs the command line. What a user can help is one line on stderr and exit code 2.

    An interrupt ends with 130.
    """
    try:
        with ending_on_interrupt():
            app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        _fail(cannot_be_written(error.filename or "a file", error))
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail("memory is used up: take a smaller size or batch, or fewer --workers")


def _fail(line: str) -> None:
    _say(f"error: {line}")
    sys.exit(2)
