"""One page over several results folders: what each found, side by side."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from attnres_eval.analysis.claims import PUBLISHED_VARIANT
from attnres_eval.analysis.collect import Results, collect
from attnres_eval.analysis.tables import write_table
from attnres_eval.errors import UserError
from attnres_eval.files import write_bytes
from attnres_eval.records import run_folders
from attnres_eval.reference.paper import PRINTED_MULTIPLIER
from attnres_eval.report.build import study_figures, study_tables
from attnres_eval.report.compare_table import (
    SHOWN_DIGITS,
    Compared,
    comparison_table,
    multiplier_rows_of,
    set_up_table,
)
from attnres_eval.report.figures import Figure, Tables, save_figure
from attnres_eval.report.page import Column, Page, Section, paragraphs, read_table, write_page
from attnres_eval.report.plot_compare import draw_multipliers
from attnres_eval.report.select import headline_variant
from attnres_eval.report.study_page import study_page
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import listed
from attnres_eval.report.words import CONVENTIONS
from attnres_eval.report.words_compare import (
    agreement_sentences,
    comparability_sentences,
    compare_headline,
)
from attnres_eval.sweep.parts import begun_parts, read_parts
from attnres_eval.sweep.storage import is_url

SUMMARY: dict[str, Column] = {
    "Study": "study",
    "Variant": "variant",
    "At equal FLOPs": "multiplier",
    "95% interval": ("ci_low", "ci_high"),
    "At equal time": "multiplier_time",
    "95% interval of it": ("ci_low_time", "ci_high_time"),
    "Minus baseline (nats per token)": "difference",
    "95% interval of that": ("difference_low", "difference_high"),
    "At size": "size",
    "Seeds": "n_seeds",
    "Sizes": "n_sizes",
    "Peak rate there": "learning_rate",
    "Precision": "precision",
    "Data (SHA-256)": "data",
}


def compare_studies(studies: Sequence[tuple[str, Path]], out: Path) -> Path:
    """Writes a page over several studies from their records; their folders stay as they are.

    A folder of a study with parts stands for the part that its page opens with.

    Args:
        studies: where each is said to lie, a path or a URL, and its folder.
        out: a folder for the page, its table and its figures.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: a folder is given twice or is none of results, or `out` is one.
    """
    if any((out / name).is_file() for name in ("study.json", "parts.json")):
        raise UserError(f"{out} is a results folder, whose own page is there; give another --out")
    opened = [_opened(folder) for _, folder in studies]
    places = [place.resolve() for place, _, _ in opened]
    for place, (where, _) in zip(places, studies, strict=True):
        if places.count(place) > 1:
            raise UserError(f"report: {where} is there twice; give different studies")
    names = short_names(
        [where if is_url(where) else str(folder.resolve()) for where, folder in studies]
    )
    compared = [
        _compared(name, results, tables, number, out)
        for number, (name, (_, results, tables)) in enumerate(zip(names, opened, strict=True), 1)
    ]
    table = comparison_table(compared)
    write_table(table, out / "tables", "comparison")
    return write_page(_page(compared, table, _multipliers(table, out)), out)


def short_names(places: Sequence[str]) -> list[str]:
    """The ends of different paths or URLs, as long as it takes to tell them apart."""
    parts = [place.rstrip("/").split("/") for place in places]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return list(places)


def _opened(folder: Path) -> tuple[Path, Results, Tables]:
    """The study of a folder, or the part of it that its page opens with: where, and what."""
    parts = read_parts(folder)
    if parts is None:
        return _read(folder)
    begun = {
        name: place
        for name, place in begun_parts(folder).items()
        if any(run.finished for run in run_folders(place))
    }
    if not begun:
        raise UserError(f"no part of {folder} has a finished run")
    if parts.headline in begun:
        return _read(begun[parts.headline])
    read = [_read(place) for place in begun.values()]
    return next((one for one in read if _has_multiplier(one)), read[0])


def _read(folder: Path) -> tuple[Path, Results, Tables]:
    results = collect(folder)
    return folder, results, study_tables(results)


def _has_multiplier(read: tuple[Path, Results, Tables]) -> bool:
    _, results, tables = read
    return headline_variant(tables["multipliers"], results.study.variants) is not None


def _compared(name: str, results: Results, tables: Tables, number: int, out: Path) -> Compared:
    """A study with its page, of whose figures the first is kept, in a folder of its own."""
    folder = f"figures/{number}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"
    with tempfile.TemporaryDirectory() as scratch:
        page = study_page(results, tables, study_figures(results, tables, Path(scratch)))
        if page.lead is not None:
            for file in page.lead.files():
                write_bytes(out / folder / file, (Path(scratch) / file).read_bytes())
            page = replace(page, lead=replace(page.lead, folder=folder))
    return Compared(name, results, tables, page)


def _multipliers(table: pd.DataFrame, out: Path) -> Figure | None:
    rows = multiplier_rows_of(table)
    if rows.empty:
        return None
    published = PRINTED_MULTIPLIER if PUBLISHED_VARIANT in set(rows["variant"]) else None
    labels = list(dict.fromkeys(table["variant"]))
    known = table.dropna(subset=["multiplier"])
    told = [
        f"{row['study']}: {label_title(row['variant'])} {row['multiplier']:.2f}"
        for _, row in known.iterrows()
    ]
    figure = Figure(
        "multipliers",
        "Compute multipliers, study by study",
        "Each over the baseline of its own study. Dots are estimates, bars 95% intervals; an open"
        " dot has no interval, and a bar that ends in a triangle goes on. Under a result, where"
        " times were calibrated, the one at equal time.",
        f"Compute multipliers of several studies: {listed(told)}.",
    )
    return save_figure(
        figure, lambda theme: draw_multipliers(rows, published, theme, labels), out / "figures"
    )


def _page(studies: Sequence[Compared], table: pd.DataFrame, lead: Figure | None) -> Page:
    names = [study.name for study in studies]
    summary = read_table(
        table.assign(data=[sha256[:SHOWN_DIGITS] for sha256 in table["data_sha256"]]),
        SUMMARY,
        "A row a study and variant; multipliers with one exponent for all variants of a study,"
        " above 1 saves",
    )
    set_up = set_up_table(studies)
    each = [
        Section(
            f"Study {study.name}",
            paragraphs(study.results.study.description, study.page.headline),
            [study.page.lead] if study.page.lead else [],
            within=f"{number}",
        )
        for number, study in enumerate(studies, 1)
    ]
    return Page(
        title=f"attnres-eval: {listed(names)}",
        headline=compare_headline(studies, table),
        number="",
        number_note="",
        lead=lead,
        sections=[
            Section("Results side by side", tables=[summary]),
            Section("Where they agree", agreement_sentences(studies, table)),
            Section(
                "What can be compared",
                comparability_sentences(studies),
                tables=[
                    read_table(
                        set_up,
                        {"Property": "property", **{name: name for name in names}},
                        "How the studies were set up",
                    )
                ],
            ),
            *each,
            Section("How to read this", list(CONVENTIONS)),
            Section(
                "Provenance",
                ["With the folders of the studies for DIR, this command makes the page anew."],
                commands=[f"attnres-eval report {' '.join(['DIR'] * len(studies))} --out FOLDER"],
            ),
        ],
        footer="The table lies beside this page in tables/ as CSV, JSON, Markdown and LaTeX, the"
        " figures in figures/ as SVG and PNG.",
    )
