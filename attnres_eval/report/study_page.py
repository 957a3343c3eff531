"""What the report of a study says, and in which order."""

import platform
from collections.abc import Callable
from importlib import metadata

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.report import words, words_paired
from attnres_eval.report.figures import Figure, Tables
from attnres_eval.report.page import Page, Section, Table, paragraphs, read_table
from attnres_eval.report.select import (
    has_interval,
    headline_variant,
    main_row,
    multiplier_summary,
)
from attnres_eval.report.style import label_title
from attnres_eval.report.time_section import time_section
from attnres_eval.report.words_depth import depth_sentences
from attnres_eval.report.words_differences import difference_headline, difference_sentences
from attnres_eval.report.words_scores import score_sentences

MOST_ROWS = 30
"""A table of benchmarks with more rows than this is folded."""


def study_page(results: Results, tables: Tables, figures: list[Figure]) -> Page:
    """The report of a study from its finished tables and figures."""
    drawn = {figure.name: figure for figure in figures}
    multipliers = tables["multipliers"]
    variant = headline_variant(multipliers, results.study.variants)
    timed = tables["time_multipliers"]
    number, note = _number(results, multipliers, timed, variant)

    # Without a multiplier, at one size say, the page opens with the differences.
    headline = words.headline(results, multipliers, variant)
    lead, rest = drawn.get("scaling"), ["differences"]
    if variant is None and (found := difference_headline(results, tables["differences"])):
        headline, lead, rest = found, drawn["differences"], ["scaling"]

    def shown(*names: str) -> list[Figure]:
        return [drawn[name] for name in names if name in drawn]

    sections = [
        Section("What was run", paragraphs(words.run_sentences(results))),
        Section(
            "Compute multipliers",
            paragraphs(
                words.multiplier_sentences(results, multipliers),
                words.published_comparison(multipliers),
            ),
            shown("multipliers"),
            [*_summary(multipliers, timed), _multipliers(multipliers), _fits(tables["fits"])]
            if variant
            else [],
        ),
        time_section(results, tables, shown("time_scaling")),
        Section(
            "Benchmarks",
            paragraphs(score_sentences(results, tables["benchmarks"])),
            shown("benchmarks"),
            [_benchmarks(tables["benchmarks"])] if len(tables["benchmarks"]) else [],
        ),
        *_on_benchmarks(results, tables, shown),
        Section(
            f"Against {label_title(results.study.baseline)}",
            paragraphs(difference_sentences(results, tables["differences"])),
            shown(*rest),
            [_differences(tables["differences"])],
        ),
        Section(
            "Losses and training",
            paragraphs(words.missing_sentence(results)),
            shown("training"),
            [_cells(tables["cells"]), _losses(tables["losses"])],
        ),
        Section(
            "Speed", paragraphs(words.speed_sentences(results, tables["cells"])), shown("speed")
        ),
        *_inside(results, tables, shown("depth", "mixing")),
        Section("How to read this", list(words.CONVENTIONS)),
        Section("Provenance", _provenance(results)),
    ]
    return Page(
        title=f"attnres-eval: study {results.study.name}",
        headline=headline,
        number=number,
        number_note=note,
        lead=lead,
        sections=sections,
    )


def _on_benchmarks(
    results: Results, tables: Tables, shown: Callable[..., list[Figure]]
) -> list[Section]:
    """Paired comparison, task scaling and reasoning steps, each where there is any."""
    sections = []
    if len(tables["paired"]):
        sentences = words_paired.paired_sentences(results, tables["paired"], tables["mcnemar"])
        sections.append(
            Section(
                "Paired comparison on benchmarks",
                paragraphs(sentences, words_paired.published_gain_sentence()),
                shown("paired"),
                [_paired(tables["paired"]), _mcnemar(tables["mcnemar"])],
            )
        )
    if tables["task_scaling"]["size"].nunique() > 1:
        sections.append(
            Section(
                "Benchmarks over compute",
                paragraphs(words_paired.task_scaling_sentences(tables["task_multipliers"])),
                shown("task_scaling"),
                [
                    _task_multipliers(tables["task_multipliers"]),
                    _task_scaling(tables["task_scaling"]),
                ],
            )
        )
    if len(tables["steps"]):
        size = words_paired.largest_scored(results, tables["steps"])
        steps = tables["steps"][tables["steps"]["size"] == size]
        sections.append(
            Section(
                "Accuracy over reasoning steps",
                paragraphs(words_paired.steps_sentences(steps)),
                shown("steps"),
                [_steps(tables["steps"])],
            )
        )
    return sections


def _inside(results: Results, tables: Tables, figures: list[Figure]) -> list[Section]:
    """The section on inspections; none where nothing was inspected."""
    if tables["depth"].empty:
        return []
    sentences = depth_sentences(results, tables["depth"], tables["mixing"])
    table = _depth(tables["depth"])
    return [Section("Inside the networks", paragraphs(sentences), figures, [table])]


def _number(
    results: Results, multipliers: pd.DataFrame, timed: pd.DataFrame, variant: str | None
) -> tuple[str, str]:
    if variant is None:
        return "", ""
    row = main_row(multipliers, variant)
    sure = f"95% interval {words.interval(row)}" if has_interval(row) else "no interval"
    base = label_title(results.study.baseline)
    return (
        f"{row['multiplier']:.2f}×",
        f"compute multiplier of {label_title(variant)} over {base}, {sure}"
        + _at_time(timed, variant),
    )


def _at_time(timed: pd.DataFrame, variant: str) -> str:
    """The multiplier at equal time behind that at equal FLOPs; empty where there is none."""
    known = timed[timed["variant"] == variant]
    if known.empty or pd.isna((row := main_row(timed, variant))["multiplier"]):
        return ""
    sure = words.interval(row) if has_interval(row) else "no interval"
    return f"; {row['multiplier']:.2f}× at equal time on the machine named below ({sure})"


def _summary(multipliers: pd.DataFrame, timed: pd.DataFrame) -> list[Table]:
    """Both multipliers side by side; none where times were not calibrated."""
    if not timed["multiplier"].notna().any():
        return []
    table = read_table(
        multiplier_summary(multipliers, timed),
        {
            "Variant": "variant",
            "At equal FLOPs": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "At equal time": "multiplier_time",
            "95% interval of it": ("ci_low_time", "ci_high_time"),
        },
        "Multipliers, one exponent for all variants; above 1 saves",
    )
    return [table]


def _multipliers(multipliers: pd.DataFrame) -> Table:
    return read_table(
        multipliers,
        {
            "Variant": "variant",
            "Model": "model",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Simulated coverage": "coverage",
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "At PFLOP/s-days": "target_compute_pflops_days",
            "Extrapolated": "extrapolated",
            "Note": "note",
        },
        "Compute multipliers by variant and fit model",
    )


def _fits(fits: pd.DataFrame) -> Table:
    return read_table(
        fits,
        {
            "Model": "model",
            "Variant": "variant",
            "A (nats per token)": "a",
            "alpha": "alpha",
            "95% interval of alpha": ("alpha_low", "alpha_high"),
            "E (nats per token)": "e",
            "Runs": "n_points",
            "RMS log residual": "rmse_log",
            "Note": "note",
        },
        "Fits of L = E + A C^-alpha, C in PFLOP/s-days; intervals from the residuals",
        folded=True,
    )


def _benchmarks(benchmarks: pd.DataFrame) -> Table:
    return read_table(
        benchmarks,
        {
            "Task": "task",
            "Variant": "variant",
            "Size": "size",
            "Metric": "metric",
            "Questions": "n_questions",
            "Limit": "limit",
            "Shots": "num_fewshot",
            "Seeds": "n_seeds",
            "Score": "score",
            "95% interval": ("ci_low", "ci_high"),
            "SD over seeds": "seed_sd",
            "Chance": "chance",
        },
        "Benchmark scores (bits per byte of the right choice: lower is better); chance is what the"
        " same likelihoods score with the right choice drawn at random",
        folded=len(benchmarks) > MOST_ROWS,
    )


def _paired(paired: pd.DataFrame) -> Table:
    return read_table(
        paired,
        {
            "Task": "task",
            "Variant": "variant",
            "Size": "size",
            "Metric": "metric",
            "Questions": "n_questions",
            "Clusters": "n_clusters",
            "Seeds": "n_seeds",
            "Minus baseline": "difference",
            "95% interval": ("ci_low", "ci_high"),
            "p": "p",
            "p (Holm)": "p_holm",
            "Detectable": "detectable",
            "For these models": ("questions_ci_low", "questions_ci_high"),
            "Detectable so": "detectable_questions",
        },
        "Paired differences to the baseline over questions and seeds; for these models: over"
        " questions alone; detectable: the true difference seen in 80% of such studies",
        folded=len(paired) > MOST_ROWS,
    )


def _mcnemar(mcnemar: pd.DataFrame) -> Table:
    return read_table(
        mcnemar,
        {
            "Task": "task",
            "Variant": "variant",
            "Size": "size",
            "Metric": "metric",
            "Seed": "seed",
            "Questions": "n_questions",
            "Right by the variant alone": "only_variant",
            "Right by the baseline alone": "only_baseline",
            "p": "p",
            "p (Holm)": "p_holm",
        },
        "McNemar's exact test of each pair of runs",
        folded=True,
    )


def _task_multipliers(multipliers: pd.DataFrame) -> Table:
    return read_table(
        multipliers,
        {
            "Task": "task",
            "Variant": "variant",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "At PFLOP/s-days": "target_compute_pflops_days",
            "Note": "note",
        },
        "Compute multipliers by bits per byte of the right choice",
    )


def _task_scaling(scaling: pd.DataFrame) -> Table:
    return read_table(
        scaling,
        {
            "Task": "task",
            "Metric": "metric",
            "Variant": "variant",
            "Size": "size",
            "FLOPs": "flops",
            "Seeds": "n_seeds",
            "Score": "score",
            "95% interval": ("ci_low", "ci_high"),
            "Chance": "chance",
        },
        "Benchmark scores by size; intervals over seeds",
        folded=True,
    )


def _steps(steps: pd.DataFrame) -> Table:
    return read_table(
        steps,
        {
            "Family": "family",
            "k": "steps",
            "Variant": "variant",
            "Size": "size",
            "Questions": "n_questions",
            "Seeds": "n_seeds",
            "Accuracy": "score",
            "95% interval": ("ci_low", "ci_high"),
            "SD over seeds": "seed_sd",
            "Chance": "chance",
            "Beats chance": "beats_chance",
            "Minus baseline": "difference",
            "95% interval of it": ("difference_low", "difference_high"),
        },
        "Accuracy by number of steps; the interval of a difference counts questions and seeds",
        folded=len(steps) > MOST_ROWS,
    )


def _differences(differences: pd.DataFrame) -> Table:
    return read_table(
        differences,
        {
            "Variant": "variant",
            "Size": "size",
            "Seeds": "n_seeds",
            "Minus baseline (nats per token)": "difference",
            "95% interval": ("ci_low", "ci_high"),
            "For all at once": ("ci_low_all", "ci_high_all"),
            "Bits per byte": "difference_bits_per_byte",
            "Time a step": "relative_step_time",
            "Peak memory": "relative_peak_memory",
            "Parameters added": "parameters_added",
            "FLOPs": "relative_flops",
            "Note": "note",
        },
        "Paired differences to the baseline, noise pooled over variants; time, memory and FLOPs"
        " are multiples of the baseline's, parameters a share of its own",
    )


def _cells(cells: pd.DataFrame) -> Table:
    return read_table(
        cells,
        {
            "Variant": "variant",
            "Size": "size",
            "Seeds": "n_seeds",
            "PFLOP/s-days": "pflops_days",
            "Nats per token": "nats_per_token",
            "SD over seeds": "seed_sd",
            "Bits per byte": "bits_per_byte",
            "Minus baseline (nats per token)": "difference",
            "95% interval of it": ("ci_low", "ci_high"),
            "Tokens per second": "tokens_per_second",
            "Relative speed": "relative_speed",
            "Peak memory (MiB)": "peak_memory_mib",
        },
        "Validation loss, speed and memory, mean over seeds",
    )


def _depth(depth: pd.DataFrame) -> Table:
    return read_table(
        depth,
        {
            "Variant": "variant",
            "Size": "size",
            "Sublayer": "sublayer",
            "Kind": "kind",
            "Seeds": "n_seeds",
            "Output RMS": "output_rms",
            "95% interval of it": ("output_rms_low", "output_rms_high"),
            "Gradient RMS (nats per element)": "gradient_rms",
            "Rise of the loss when skipped (nats per token)": "skip_loss_change",
            "95% interval of the rise": ("skip_loss_change_low", "skip_loss_change_high"),
        },
        "Every sublayer: its output, its gradient, and what skipping it costs",
        folded=True,
    )


def _losses(losses: pd.DataFrame) -> Table:
    return read_table(
        losses,
        {
            "Run": "run",
            "Parameters": "parameters",
            "Tokens": "tokens",
            "FLOPs": "flops",
            "6ND": "flops_6nd",
            "Nats per token": "nats_per_token",
            "Bits per byte": "bits_per_byte",
            "Seconds": "seconds",
            "Tokens per second": "tokens_per_second",
            "Peak memory (MiB)": "peak_memory_mib",
        },
        "Every planned run",
        folded=True,
    )


def _provenance(results: Results) -> list[str]:
    machines = results.machines.values()
    processors = sorted({f"{m.processor} ({m.device})" for m in machines})
    how = sorted(
        {
            f"{m.precision}, {f'{m.processes} processes by {m.parallel}, ' if m.parallel else ''}"
            f"{words.counted(m.threads, 'thread')} a run,"
            f" {'compiled' if m.compiled else 'not compiled'}, torch {m.torch}"
            for m in machines
        }
    )
    hashes = sorted(set(results.finished["data_sha256"].dropna()))
    harness = sorted({record.lm_eval for records in results.tasks.values() for record in records})
    return paragraphs(
        f"Trained on {words.listed(processors)}: {words.listed(how)}.",
        f"Tokenizer and token files: SHA-256 {words.listed(hashes)}.",
        f"Scored through lm-eval {words.listed(harness)}." if harness else "",
        f"Report by attnres-eval {metadata.version('attnres-eval')} on Python"
        f" {platform.python_version()}, numpy {metadata.version('numpy')}, pandas"
        f" {metadata.version('pandas')}, scipy {metadata.version('scipy')}, matplotlib"
        f" {metadata.version('matplotlib')}.",
    )
