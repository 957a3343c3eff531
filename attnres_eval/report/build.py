"""From a results folder's records to tables, figures and report. Nothing is trained or scored."""

import difflib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from attnres_eval.analysis.benchmarks import benchmarks_table
from attnres_eval.analysis.claims import claims_table
from attnres_eval.analysis.collect import Results, collect
from attnres_eval.analysis.depth import depth_table, mixing_table
from attnres_eval.analysis.frames import (
    cells_table,
    fits_table,
    losses_table,
    multipliers_table,
)
from attnres_eval.analysis.gains import gains_table
from attnres_eval.analysis.growth import growth_table
from attnres_eval.analysis.option_sweep import option_sweep_table
from attnres_eval.analysis.paired import mcnemar_table, paired_table
from attnres_eval.analysis.pooled import differences_table
from attnres_eval.analysis.questions import answers
from attnres_eval.analysis.rates import best_rates_table, rates_table
from attnres_eval.analysis.robustness import robustness_table
from attnres_eval.analysis.shapes import shape_slopes_table, shapes_table
from attnres_eval.analysis.step_times import step_times_table
from attnres_eval.analysis.steps import steps_table
from attnres_eval.analysis.tables import rounded, write_table
from attnres_eval.analysis.task_scaling import (
    run_scores,
    task_multipliers_table,
    task_scaling_table,
)
from attnres_eval.analysis.time_multipliers import time_fits_table, time_multipliers_table
from attnres_eval.errors import UserError
from attnres_eval.records import run_folders
from attnres_eval.report.figures import Figure, Tables, draw_figures
from attnres_eval.report.figures_depth import depth_figures
from attnres_eval.report.figures_swept import draw_swept_figures
from attnres_eval.report.formats import format_table
from attnres_eval.report.page import Page, write_page
from attnres_eval.report.parts_page import Part, parts_page
from attnres_eval.report.provenance import with_origin
from attnres_eval.report.study_page import study_page
from attnres_eval.sweep.folder import read_study
from attnres_eval.sweep.parts import begun_parts, read_parts


def study_tables(results: Results) -> Tables:
    """Every table of a study, by name, rounded: figures and sentences are made of the same."""
    answered = answers(results)
    scores = run_scores(results, answered)
    benchmarks = benchmarks_table(results, answered)
    paired = paired_table(results, answered)
    step_times = step_times_table(results.study, results.calibration)
    differences = differences_table(results)
    rates = rates_table(results)
    shapes = shapes_table(results, differences)
    multipliers = multipliers_table(results)
    slopes = shape_slopes_table(results, shapes)
    gains, growth = gains_table(results, answered), growth_table(results)
    tables = {
        "claims": claims_table(results, multipliers, gains, growth, slopes),
        "losses": losses_table(results),
        "cells": cells_table(results),
        "differences": differences,
        "fits": fits_table(results),
        "multipliers": multipliers,
        "step_times": step_times,
        "time_fits": time_fits_table(results, step_times),
        "time_multipliers": time_multipliers_table(results, step_times),
        "robustness": robustness_table(results),
        "rates": rates,
        "best_rates": best_rates_table(results, rates),
        "shapes": shapes,
        "shape_slopes": slopes,
        "option_sweep": option_sweep_table(results, differences),
        "benchmarks": benchmarks,
        "paired": paired,
        "mcnemar": mcnemar_table(results, answered),
        "task_scaling": task_scaling_table(results, scores),
        "task_multipliers": task_multipliers_table(results, scores),
        "steps": steps_table(benchmarks, paired),
        "reasoning_gains": gains,
        "depth": depth_table(results),
        "growth": growth,
        "mixing": mixing_table(results),
    }
    return {name: rounded(frame) for name, frame in tables.items()}


def write_tables(tables: Tables, results: Path) -> None:
    """Writes every table under `results/tables` as CSV, JSON, Markdown and LaTeX."""
    for name, frame in tables.items():
        write_table(frame, results / "tables", name)


def study_figures(results: Results, tables: Tables, folder: Path) -> list[Figure]:
    """Draws every figure of a study into a folder."""
    return [
        *draw_figures(results, tables, folder),
        *depth_figures(tables["depth"], tables["mixing"], list(results.study.variants), folder),
        *draw_swept_figures(results, tables, folder),
    ]


def build_report(results: Path) -> Path:
    """Writes tables/, figures/, report.md and report.html from the records of a study.

    A study with parts gets all of this for each part, and one page with all of them.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: not a results folder, a damaged record, or no finished run.
    """
    parts = read_parts(results)
    if parts is None:
        return _build(results).path
    begun, built = begun_parts(results), {}
    described = {name: Part(name) for name in parts.parts}
    for name, folder in begun.items():
        study, runs = read_study(folder), run_folders(folder)
        finished = sum(run.finished for run in runs)
        described[name] = Part(name, study.description, len(study.runs()), finished)
        if finished:
            built[name] = _build(folder)
            described[name] = replace(described[name], page=built[name].page)
    page = parts_page(parts.name, list(described.values()), parts.headline)
    tables = [file for one in built.values() for file in one.tables]
    return write_page(with_origin(page, results, parts.name, tables), results)


@dataclass(frozen=True)
class _Built:
    """The report of one study."""

    page: Page
    """Without what is about its folder."""
    tables: list[Path]
    """The CSV files."""
    path: Path
    """Of `report.html`."""


def _build(results: Path) -> _Built:
    collected = collect(results)
    tables = study_tables(collected)
    write_tables(tables, results)
    figures = study_figures(collected, tables, results / "figures")
    page = study_page(collected, tables, figures)
    files = [results / "tables" / f"{name}.csv" for name in tables]
    whole = with_origin(page, results, collected.study.name, files)
    return _Built(page, files, write_page(whole, results))


def export_table(results: Path, table: str, fmt: str = "table") -> str:
    """One table of the last report as text; the report is built where there is none.

    Args:
        results: a results folder of a study, or of the published numbers.
        table: one of its tables.
        fmt: one of `attnres_eval.report.formats.FORMATS`.

    Raises:
        UserError: not a results folder, one of parts, no such table, or no such format.
    """
    folder = results / "tables"
    parts = read_parts(results)
    if parts is not None:
        named = ", ".join(str(results / name) for name in parts.parts)
        raise UserError(f"{results} holds parts, each with its own tables: name one of {named}")
    if not folder.is_dir():
        build_report(results)
    known = sorted(file.stem for file in folder.glob("*.csv"))
    if table not in known:
        near = difflib.get_close_matches(table, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UserError(f"{results} has no table {table!r}; {hint}")
    text = (folder / f"{table}.csv").read_text(encoding="utf-8")
    if fmt == "csv":
        return text.rstrip("\n")
    return format_table(pd.read_csv(io.StringIO(text)), fmt)
