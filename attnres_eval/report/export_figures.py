"""Figures of a results folder as files for a paper, with their captions."""

from pathlib import Path

from attnres_eval.analysis.collect import collect
from attnres_eval.errors import UserError
from attnres_eval.files import write_text
from attnres_eval.records import run_folders
from attnres_eval.report.build import study_figures, study_tables
from attnres_eval.report.captions import Captioned, latex_captions, markdown_captions
from attnres_eval.report.figures import Figure
from attnres_eval.report.output import Format, Look, saving_as
from attnres_eval.report.paper import holds_published, published_figures, published_tables
from attnres_eval.report.style import LIGHT
from attnres_eval.sweep.parts import begun_parts, read_parts


def export_figures(results: Path, fmt: Format, look: Look, out: Path) -> list[Path]:
    """Draws every figure of a results folder anew, from its records.

    A part of a study has its figures in a folder of its own below `out`. `captions.md` and
    `captions.tex` beside them have title, caption and label of each.

    Args:
        results: a folder of a study, of a study with parts, or of the published numbers.
        fmt: of the files.
        look: for a paper, or as on the page.
        out: where they go.

    Returns:
        What was written: the figures, of which a look with two themes has a dark one too, and the
        captions.

    Raises:
        UserError: not a results folder, a damaged record, or no finished run.
    """
    with saving_as(look, fmt):
        drawn = _drawn(results, out)
    figures = [
        Captioned(figure, (folder / figure.file(LIGHT, fmt)).relative_to(out).as_posix())
        for folder, figure in drawn
    ]
    captions = {"captions.md": markdown_captions, "captions.tex": latex_captions}
    for name, write in captions.items():
        write_text(out / name, write(figures))
    return [*(out / one.file for one in figures), *(out / name for name in captions)]


def _drawn(results: Path, out: Path) -> list[tuple[Path, Figure]]:
    """Every figure with the folder that it was drawn into."""
    if read_parts(results) is None:
        return [(out, figure) for figure in _figures(results, out)]
    finished = {
        name: folder
        for name, folder in begun_parts(results).items()
        if any(run.finished for run in run_folders(folder))
    }
    if not finished:
        raise UserError(f"no part of {results} has a finished run")
    return [
        (out / name, figure)
        for name, folder in finished.items()
        for figure in _figures(folder, out / name)
    ]


def _figures(results: Path, out: Path) -> list[Figure]:
    if holds_published(results):
        return published_figures(published_tables(), out)
    collected = collect(results)
    return study_figures(collected, study_tables(collected), out)
