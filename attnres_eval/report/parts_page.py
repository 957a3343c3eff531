"""The page of a study with parts: the pages of all of them as one, each part a chapter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from attnres_eval.analysis.tables import MISSING
from attnres_eval.errors import UserError
from attnres_eval.report.figures import Figure
from attnres_eval.report.page import Page, Section, Table, paragraphs
from attnres_eval.report.wording import counted, listed


@dataclass(frozen=True)
class Part:
    """A part of a study, and what its own page says."""

    name: str
    """That of its folder, beside the page."""
    description: str = ""
    planned: int = 0
    """Runs."""
    finished: int = 0
    page: Page | None = None
    """None where no run has finished."""


def parts_page(study: str, parts: Sequence[Part], headline: str | None) -> Page:
    """One page over all parts of a study.

    It opens with sentence, number and picture of the part `headline`; where that has no finished
    run, or none is named, with those of the first part that has a multiplier, or else of the first
    with a finished run. Opening and closing sections of the parts' pages stand once, before and
    after the chapters.

    Args:
        study: its name.
        parts: all of them, in the study's order.
        headline: a part's name.

    Raises:
        UserError: no part has a finished run.
    """
    done = [(part, part.page) for part in parts if part.page is not None]
    if not done:
        raise UserError(f"no part of study {study} has a finished run")
    named = [one for one in done if one[0].name == headline]
    numbered = [one for one in done if one[1].number]
    part, page = (named or numbered or done)[0]
    sections = [_overview(parts, part, headline), *_for_all(done, "opening")]
    for one in parts:
        sections += _chapter(one, opens=one is part)
    return replace(
        page,
        title=f"attnres-eval: study {study}",
        lead=_moved(page.lead, part),
        sections=sections + _for_all(done, "closing"),
        footer="Each part has a folder of its own beside this page, with its tables and figures.",
    )


def _overview(parts: Sequence[Part], opening: Part, headline: str | None) -> Section:
    done = [part for part in parts if part.page is not None]
    instead = (
        f"Part {headline}, which this page is to open with, has no finished run yet. "
        if headline is not None and headline != opening.name
        else ""
    )
    numbered = opening.page is not None and opening.page.number
    above = "Sentence, number and picture" if numbered else "Sentence and picture"
    rows = [
        [
            part.name,
            part.description or MISSING,
            f"{part.finished} of {part.planned}" if part.planned else "not begun",
            part.page.headline if part.page else MISSING,
        ]
        for part in parts
    ]
    headings = ["Part", "What it is", "Finished runs", "What it says"]
    return Section(
        "Parts",
        [
            f"{len(done)} of {counted(len(parts), 'part')} have finished runs. {instead}{above}"
            f" above are those of part {opening.name}."
        ],
        tables=[Table("The parts of the study", headings, [False] * 4, rows)],
    )


def _chapter(part: Part, *, opens: bool) -> list[Section]:
    """A part's page as sections: its summary, where the page does not open with it, and the rest.

    Their anchors and their figures' files are named by the part.
    """
    heading = f"Part {part.name}"
    if part.page is None:
        status = "No run has finished yet." if part.planned else "Not begun."
        return [Section(heading, paragraphs(part.description, status), within=part.name)]
    page, lead = part.page, _moved(part.page.lead, part)
    number = f"{page.number} ({page.number_note})." if page.number else ""
    first = Section(
        heading,
        ["Its sentence, number and picture open this page."]
        if opens
        else paragraphs(page.headline, number),
        [] if opens or lead is None else [lead],
        within=part.name,
    )
    inner = [
        replace(_placed(section, part), level=3, within=part.name)
        for section in page.sections
        if not section.place
    ]
    return [first, *inner]


def _moved(figure: Figure | None, part: Part) -> Figure | None:
    """A figure of a part's page as one of the page over the parts."""
    return figure and replace(figure, folder=f"{part.name}/{figure.folder}")


def _placed(section: Section, part: Part) -> Section:
    figures = [moved for figure in section.figures if (moved := _moved(figure, part))]
    return replace(section, figures=figures)


def _for_all(done: Sequence[tuple[Part, Page]], place: str) -> list[Section]:
    """The sections of one place of all parts, those of one heading as one."""
    by_heading: dict[str, list[tuple[Part, Section]]] = {}
    for part, page in done:
        for section in page.sections:
            if section.place == place:
                by_heading.setdefault(section.heading, []).append((part, section))
    return [_as_one(owned, len(done)) for owned in by_heading.values()]


def _as_one(owned: Sequence[tuple[Part, Section]], n_parts: int) -> Section:
    """Sections of one heading as one: what not all parts say is said with their names."""
    said: dict[str, list[str]] = {}
    for texts in zip_longest(*(section.paragraphs for _, section in owned)):
        for (part, _), text in zip(owned, texts, strict=True):
            if text is not None:
                said.setdefault(text, []).append(part.name)
    merged = [
        text
        if len(names) == n_parts
        else f"{'Part' if len(names) == 1 else 'Parts'} {listed(names)}: {text}"
        for text, names in said.items()
    ]
    return replace(
        owned[0][1],
        paragraphs=merged,
        figures=[figure for part, section in owned for figure in _placed(section, part).figures],
        tables=_tables(owned),
    )


def _tables(owned: Sequence[tuple[Part, Section]]) -> list[Table]:
    """Tables of one kind as one, with a column that names the part."""
    alike: dict[tuple[str, ...], list[tuple[Part, Table]]] = {}
    for part, section in owned:
        for table in section.tables:
            alike.setdefault((table.caption, *table.headings), []).append((part, table))
    return [
        replace(
            tables[0][1],
            headings=["Part", *tables[0][1].headings],
            numeric=[False, *tables[0][1].numeric],
            rows=[[part.name, *row] for part, table in tables for row in table.rows],
        )
        for tables in alike.values()
    ]
