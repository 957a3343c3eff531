"""The page of a study with parts: each part's finding in a sentence, and where its page is."""

from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.report.page import Page, Section, paragraphs
from attnres_eval.report.words import counted


def parts_page(name: str, described: dict[str, str], pages: dict[str, tuple[Path, Page]]) -> Page:
    """A page over the pages of a study's parts.

    Args:
        name: of the study.
        described: every part by name, with its description where it was begun.
        pages: of the parts with a finished run, where their page is and what it says.

    Raises:
        UserError: no part has a finished run.
    """
    if not pages:
        raise UserError(f"no part of study {name} has a finished run")
    sections = []
    for part, description in described.items():
        if part not in pages:
            sections.append(Section(f"Part {part}", [description or "Not begun."]))
            continue
        path, page = pages[part]
        number = f"{page.number} ({page.number_note})." if page.number else ""
        texts = paragraphs(description, page.headline, number)
        sections.append(Section(f"Part {part}", texts, page=path.as_posix()))
    return Page(
        title=f"attnres-eval: study {name}",
        headline=f"{len(pages)} of {counted(len(described), 'part')} have finished runs.",
        number="",
        number_note="",
        lead=None,
        sections=sections,
        footer="Each part has a folder of its own beside this page, with its tables and figures.",
    )
