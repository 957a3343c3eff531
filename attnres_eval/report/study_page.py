"""What the report of a study says, and in which order."""

import platform
from collections.abc import Callable
from importlib import metadata

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.shapes import is_over_shapes
from attnres_eval.records import Machine
from attnres_eval.report import words, words_paired
from attnres_eval.report.figures import Figure, Tables
from attnres_eval.report.figures_swept import swept_lead
from attnres_eval.report.page import Page, Section, Table, paragraphs
from attnres_eval.report.select import (
    has_interval,
    headline_variant,
    main_row,
    multiplier_summary,
)
from attnres_eval.report.speed import speed_sentences
from attnres_eval.report.style import label_title
from attnres_eval.report.swept_sections import swept_sections
from attnres_eval.report.time_section import time_section
from attnres_eval.report.views import view
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words_depth import depth_sentences
from attnres_eval.report.words_differences import difference_headline, difference_sentences
from attnres_eval.report.words_published import CLAIMS, published_comparison
from attnres_eval.report.words_robustness import robustness_sentences
from attnres_eval.report.words_scores import score_sentences


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
    if variant is None and (swept := swept_lead(results, tables)):
        headline, lead, rest = swept[0], drawn[swept[1]], ["differences"]

    def shown(*names: str) -> list[Figure]:
        return [drawn[name] for name in names if name in drawn]

    compute = Section(
        "Compute multipliers",
        paragraphs(
            words.multiplier_sentences(results, multipliers),
            published_comparison(multipliers),
        ),
        shown("multipliers"),
        [
            *_summary(multipliers, timed),
            view("multipliers", _known(multipliers)),
            view("fits", tables["fits"]),
        ]
        if variant
        else [],
    )
    # Beside the other times where it shows those, apart where it shows how the runs went.
    calibrated = not tables["step_times"].empty
    sections = [
        *_claims(tables["claims"]),
        Section("What was run", paragraphs(words.run_sentences(results))),
        *([compute] if variant or _is_ladder(results) else []),
        *_robustness(tables, variant),
        *swept_sections(
            results, tables, {name: figure for name, figure in drawn.items() if figure != lead}
        ),
        *time_section(results, tables, shown("time_scaling", *(["speed"] if calibrated else []))),
        *_benchmarks(results, tables, shown("benchmarks")),
        *_on_benchmarks(results, tables, shown),
        *_against(results, tables, shown(*rest)),
        Section(
            "Losses and training",
            paragraphs(words.missing_sentences(results)),
            shown("training"),
            [view("cells", tables["cells"]), view("losses", tables["losses"])],
        ),
        *([] if calibrated else [_speed(results, tables, shown("speed"))]),
        *_inside(results, tables, shown("depth", "mixing")),
        Section("How to read this", list(words.CONVENTIONS), place="closing"),
        Section("Provenance", _provenance(results), place="closing"),
    ]
    return Page(
        title=f"attnres-eval: study {results.study.name}",
        headline=headline,
        number=number,
        number_note=note,
        lead=lead,
        sections=sections,
    )


def _is_ladder(results: Results) -> bool:
    """Whether the sizes are there to be fitted over: not one alone, nor several of one budget."""
    return len(results.study.sizes) > 1 and not is_over_shapes(results.study)


def _benchmarks(results: Results, tables: Tables, figures: list[Figure]) -> list[Section]:
    """Scores; nothing where none were planned and none are there."""
    table, planned = tables["benchmarks"], results.study.evaluation
    if table.empty and not (planned.tasks and results.study.evaluated_sizes()):
        return []
    sentences = paragraphs(score_sentences(results, table))
    shown = [view("benchmarks", table)] if len(table) else []
    return [Section("Benchmarks", sentences, figures, shown)]


def _against(results: Results, tables: Tables, figures: list[Figure]) -> list[Section]:
    """Differences to the baseline at one rate; none in a sweep of rates, which has its own."""
    if len(tables["best_rates"]):
        return []
    table = tables["differences"]
    return [
        Section(
            f"Against {label_title(results.study.baseline)}",
            paragraphs(difference_sentences(results, table)),
            figures,
            [view("differences", table)],
        )
    ]


def _claims(table: pd.DataFrame) -> list[Section]:
    """The published claims that the study bears on; none where it has an interval for none."""
    if table.empty:
        return []
    heading = "Beside the published claims"
    return [Section(heading, [CLAIMS], tables=[view("claims", table)], place="opening")]


def _robustness(tables: Tables, variant: str | None) -> list[Section]:
    """The checks of the headline's multiplier; none where it has none."""
    sentences = robustness_sentences(tables["robustness"], variant)
    if not sentences:
        return []
    return [Section("Robustness", sentences, tables=[view("robustness", tables["robustness"])])]


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
                [view("paired", tables["paired"]), view("mcnemar", tables["mcnemar"])],
            )
        )
    if tables["task_scaling"]["size"].nunique() > 1:
        sections.append(
            Section(
                "Benchmarks over compute",
                paragraphs(words_paired.task_scaling_sentences(tables["task_multipliers"])),
                shown("task_scaling"),
                [
                    view("task_multipliers", tables["task_multipliers"]),
                    view("task_scaling", tables["task_scaling"]),
                ],
            )
        )
    if len(tables["steps"]):
        size = words_paired.largest_scored(results, tables["steps"])
        steps = tables["steps"][tables["steps"]["size"] == size]
        gains = tables["reasoning_gains"]
        own = gains[gains["size"] == size]
        sections.append(
            Section(
                "Accuracy over reasoning steps",
                paragraphs(words_paired.steps_sentences(steps), words_paired.gains_sentences(own)),
                shown("steps"),
                [
                    *([view("reasoning_gains", gains)] if len(gains) else []),
                    view("steps", tables["steps"]),
                ],
            )
        )
    return sections


def _speed(results: Results, tables: Tables, figures: list[Figure]) -> Section:
    said = speed_sentences(results, tables["cells"], tables["step_times"])
    return Section("Speed", paragraphs(said), figures)


def _inside(results: Results, tables: Tables, figures: list[Figure]) -> list[Section]:
    """The section on inspections; none where nothing was inspected."""
    if tables["depth"].empty:
        return []
    sentences = depth_sentences(results, tables["depth"], tables["growth"], tables["mixing"])
    shown = [view("growth", tables["growth"]), view("depth", tables["depth"])]
    return [Section("Inside the networks", paragraphs(sentences), figures, shown)]


def _number(
    results: Results, multipliers: pd.DataFrame, timed: pd.DataFrame, variant: str | None
) -> tuple[str, str]:
    """The page's one large number and what it is; none where it has no interval."""
    if variant is None or not has_interval(row := main_row(multipliers, variant)):
        return "", ""
    base = label_title(results.study.baseline)
    return (
        f"{row['multiplier']:.2f}×",
        f"compute multiplier of {label_title(variant)} over {base}, 95% interval"
        f" {words.interval(row)}" + _at_time(timed, variant),
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
    return [view("summary", multiplier_summary(_known(multipliers), timed))]


def _known(multipliers: pd.DataFrame) -> pd.DataFrame:
    """The rows with a multiplier: a sentence names the labels without."""
    return multipliers.dropna(subset=["multiplier"])


def _tiles(machine: Machine) -> str:
    """What is known of the processor's matrix tiles, where bf16 products might have used them."""
    if machine.tiles is None:
        ours = machine.device == "cpu" and machine.kernels and machine.precision == "bf16"
        return ", use of matrix tiles not recorded" if ours else ""
    return ", with matrix tiles" if machine.tiles else ", without matrix tiles"


def _provenance(results: Results) -> list[str]:
    machines = results.machines.values()
    processors = sorted({f"{m.processor} ({m.device})" for m in machines})
    how = sorted(
        {
            f"{m.precision}, {f'{m.processes} processes by {m.parallel}, ' if m.parallel else ''}"
            f"{counted(m.threads, 'thread')} a run,"
            f" {'compiled' if m.compiled else 'not compiled'}, torch {m.torch}"
            f"{_tiles(m)}"
            for m in machines
        }
    )
    hashes = sorted(set(results.finished["data_sha256"].dropna()))
    harness = sorted({record.lm_eval for records in results.tasks.values() for record in records})
    return paragraphs(
        f"Trained on {listed(processors)}: {listed(how)}.",
        f"Tokenizer and token files: SHA-256 {listed(hashes)}.",
        f"Scored through lm-eval {listed(harness)}." if harness else "",
        f"Report by attnres-eval {metadata.version('attnres-eval')} on Python"
        f" {platform.python_version()}, numpy {metadata.version('numpy')}, pandas"
        f" {metadata.version('pandas')}, scipy {metadata.version('scipy')}, matplotlib"
        f" {metadata.version('matplotlib')}.",
    )
