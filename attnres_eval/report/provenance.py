"""What a page says of where it comes from: protocol, hashes, and the commands that make it anew."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attnres_eval.files import sha256_of_file
from attnres_eval.report.page import Page, Section, Table, paragraphs
from attnres_eval.report.wording import listed
from attnres_eval.sweep.origin import Origin, read_origin, read_protocol


def with_origin(page: Page, results: Path, study: str, tables: Sequence[Path]) -> Page:
    """A page with its protocol, where it has one, and all of its provenance.

    Args:
        page: its last section is the provenance of its runs.
        results: the folder where it is to lie.
        study: what the study is called where the folder does not say by which name it was run.
        tables: the CSV files that it shows.

    Raises:
        UserError: the folder's protocol is not the one on record.
    """
    *rest, last = page.sections
    origin = read_origin(results)
    protocol = read_protocol(results, origin)
    if origin is not None and protocol is not None:
        rest.append(_protocol_section(protocol, origin))
    name = study if origin is None else origin.study
    last = replace(
        last,
        paragraphs=paragraphs(
            last.paragraphs,
            f"Study file {origin.study}: SHA-256 {origin.study_file_sha256}." if origin else "",
            "With this page's folder for DIR, the first command makes its tables, figures and"
            " pages anew from the records; the second one runs the study, or goes on with it.",
        ),
        commands=[
            "attnres-eval report DIR",
            f"attnres-eval reproduce --study {shlex.quote(name)} --out DIR",
        ],
        tables=[*last.tables, _hashes(results, tables)],
    )
    return replace(page, sections=[*rest, last])


def _protocol_section(text: str, origin: Origin) -> Section:
    *earlier, present = origin.protocols_sha256
    changed = (
        "It has changed since runs were first begun here; before, its SHA-256 was"
        f" {listed(earlier)}."
        if earlier
        else "It has not changed since it was first written down here."
    )
    return Section(
        "Protocol",
        [f"What was to be run and how it was to be judged. SHA-256 {present}. {changed}"],
        markup=text,
        page="protocol.md",
    )


def _hashes(results: Path, tables: Sequence[Path]) -> Table:
    names = [file.relative_to(results).as_posix() for file in tables]
    return Table(
        caption="Every table that was made with this page, by its file",
        headings=["File", "SHA-256"],
        numeric=[False, False],
        rows=[[name, sha256_of_file(file)] for name, file in zip(names, tables, strict=True)],
        folded=True,
    )
