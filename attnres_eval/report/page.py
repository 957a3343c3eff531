"""A report as one HTML page that needs nothing else, and as Markdown beside its figures."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jinja2
import pandas as pd

from attnres_eval.analysis.tables import MISSING, display, is_numeric
from attnres_eval.files import write_text
from attnres_eval.report.assets import asset
from attnres_eval.report.charts.chart import Chart
from attnres_eval.report.charts.embed import chart_json, page_json, runtime
from attnres_eval.report.figures import Figure
from attnres_eval.report.markup import rendered_markdown
from attnres_eval.report.style import DARK, LIGHT, label_title

Column = str | tuple[str, str]
"""A column of a frame, or two of them: the ends of an interval, shown as one."""


@dataclass(frozen=True)
class Table:
    """A table as it is read: text only."""

    caption: str
    headings: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    folded: bool = False
    """Whether the page shows it only when asked."""


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    heading: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    page: str = ""
    """Where a page of its own is, from this one."""
    level: int = 2
    """Of its heading; a section of level 3 belongs to the one of level 2 before it."""
    within: str = ""
    """The part of a study that it is about, on a page over several; sections of two parts may
    have one heading."""
    place: Literal["", "opening", "closing"] = ""
    """Where it stands on a page over several parts, once for all of them that have its heading:
    before the parts' chapters, or after; empty where it stays in its part's."""
    commands: list[str] = field(default_factory=list)
    """Command lines, shown below the paragraphs."""
    markup: str = ""
    """A text of its own in Markdown, shown when asked."""

    @property
    def anchor(self) -> str:
        """Its name in links. Neither a part nor a heading's short form has a dot."""
        short = re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-")
        return f"{self.within}.{short}" if self.within else short


@dataclass(frozen=True)
class Page:
    """A report: one sentence, one number, one picture; then the rest."""

    title: str
    headline: str
    number: str
    number_note: str
    lead: Figure | None
    sections: list[Section]
    footer: str = (
        "Tables lie beside this page in tables/ as CSV, JSON, Markdown and LaTeX, figures in"
        " figures/ as SVG and PNG."
    )

    @property
    def charts(self) -> list[Chart]:
        """The charts of its figures, as they stand."""
        lead = [] if self.lead is None else [self.lead]
        figures = [*lead, *(figure for section in self.sections for figure in section.figures)]
        return [figure.chart for figure in figures if figure.chart is not None]

    @property
    def contents(self) -> list[tuple[Section, list[Section]]]:
        """The sections of level 2, each with those that belong to it."""
        contents: list[tuple[Section, list[Section]]] = []
        for section in self.sections:
            if section.level == 2 or not contents:
                contents.append((section, []))
            else:
                contents[-1][1].append(section)
        return contents


def read_table(
    frame: pd.DataFrame, columns: dict[str, Column], caption: str, *, folded: bool = False
) -> Table:
    """Chooses and words the columns of a frame.

    Args:
        frame: the table.
        columns: heading to column; a pair of columns is an interval. The columns `variant`,
            `over` and `sweep` are shown by the variants' titles.
        caption: what the table holds.
        folded: whether the page shows it only when asked.
    """
    cells = [_cells(frame, column) for column in columns.values()]
    return Table(
        caption=caption,
        headings=list(columns),
        numeric=[
            isinstance(column, tuple) or is_numeric(frame[column]) for column in columns.values()
        ],
        rows=[list(row) for row in zip(*cells, strict=True)],
        folded=folded,
    )


def _cells(frame: pd.DataFrame, column: Column) -> list[str]:
    if isinstance(column, tuple):
        pairs = zip(frame[column[0]], frame[column[1]], strict=True)
        return [
            MISSING if pd.isna(low) or pd.isna(high) else f"{display(low)} to {display(high)}"
            for low, high in pairs
        ]
    if column in ("variant", "over", "sweep"):
        return [label_title(str(label)) or "all" for label in frame[column]]
    return [display(value) or MISSING for value in frame[column]]


def write_page(page: Page, folder: Path) -> Path:
    """Writes `report.html` and `report.md`, whose figures lie in their folders below `folder`.

    Returns:
        The path of `report.html`.
    """

    def embedded(figure: Figure, dark: bool) -> str:
        file = folder / figure.folder / figure.file(DARK if dark else LIGHT, "svg")
        return "data:image/svg+xml;base64," + base64.b64encode(file.read_bytes()).decode()

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("attnres_eval.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(markdown=escape_markdown, rendered=rendered_markdown)
    environment.globals.update(
        asset=asset,
        chart_json=chart_json,
        dark=DARK,
        embedded=embedded,
        light=LIGHT,
        page_json=page_json,
        runtime=runtime,
    )
    for name in ("report.md", "report.html"):
        write_text(folder / name, environment.get_template(f"{name}.j2").render(page=page))
    return folder / "report.html"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: no tags, links or table cells of its own."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escaped).replace("\n", " ")


def paragraphs(*texts: str | Sequence[str]) -> list[str]:
    """Sentences and lists of sentences as one list, empty ones left out."""
    flat: list[str] = []
    for text in texts:
        flat += [text] if isinstance(text, str) else list(text)
    return [text for text in flat if text]
