"""Figures as files for a paper: their size, their letters, their captions."""

import math
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fabricate import fabricate, make_study
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from page_reader import hashes

from attnres_eval.errors import UserError
from attnres_eval.report.captions import Captioned, latex_captions, latex_text, markdown_captions
from attnres_eval.report.export import Wanted, export_results
from attnres_eval.report.export_figures import export_figures
from attnres_eval.report.figures import Figure
from attnres_eval.report.paper import reproduce_paper
from attnres_eval.report.paper_look import COLUMN, TEXT, drawn_for_paper, fits, text_boxes
from attnres_eval.report.plot_compare import draw_speed
from attnres_eval.report.plot_scaling import legend_columns
from attnres_eval.report.style import LIGHT, Theme, most_columns, points, themed
from attnres_eval.sweep.parts import claim_parts

MARKED = {"block_attnres": 1.3}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PDFs of a whole study, not to be written to."""
    folder = fabricate(tmp_path_factory.mktemp("study"), multipliers=MARKED)
    export_figures(folder, "pdf", "paper", folder / "paper")
    assert not (folder / "figures").exists()
    return folder / "paper"


def inches(pdf: Path) -> tuple[float, float]:
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf.read_bytes())
    assert box
    return float(box[1]) / 72, float(box[2]) / 72


def test_every_figure_is_a_column_or_a_text_wide(exported: Path, built: Path) -> None:
    files = {file.stem: file for file in exported.glob("*.pdf")}
    light = {f.stem for f in (built.parent / "figures").glob("*.svg") if "-dark" not in f.stem}
    assert set(files) == light
    tex = (exported / "captions.tex").read_text(encoding="utf-8")
    widths = set()
    for name, file in files.items():
        width = inches(file)[0]
        widths.add(round(width, 2))
        column = f"[width=\\columnwidth,height=0.85\\textheight,keepaspectratio]{{{name}.pdf}}"
        assert (column in tex) == (width == pytest.approx(COLUMN))
    assert widths == {COLUMN, TEXT}


def test_letters_are_embedded_as_letters(exported: Path) -> None:
    for file in exported.glob("*.pdf"):
        content = file.read_bytes()
        assert b"/CIDFontType2" in content
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert b"CreationDate" not in content


def test_they_come_out_the_same(exported: Path) -> None:
    first = hashes(exported)
    export_figures(exported.parent, "pdf", "paper", exported)
    assert hashes(exported) == first
    assert {"captions.md", "captions.tex"} < set(first)


def test_captions_are_those_of_the_page(exported: Path, built: Path) -> None:
    page = built.with_suffix(".md").read_text(encoding="utf-8")
    captions = (exported / "captions.md").read_text(encoding="utf-8")
    told = re.findall(r"^\*\*.*\.\*\* .*$", captions, re.MULTILINE)
    assert len(told) == len(list(exported.glob("*.pdf")))
    assert all(caption in page for caption in told)


def test_a_page_look_has_both_themes(fabricated: Callable[..., Path], tmp_path: Path) -> None:
    folder = fabricated(study=make_study(n_sizes=1, tasks=[]), inspected=False)
    export_figures(folder, "png", "report", tmp_path / "out")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"training.png", "training-dark.png", "captions.tex"} <= names
    assert not [name for name in names if name.endswith(".svg")]
    export_figures(folder, "png", "paper", tmp_path / "paper")
    assert not [file for file in (tmp_path / "paper").iterdir() if "dark" in file.name]
    head = (tmp_path / "paper" / "training.png").read_bytes()[:24]
    assert struct.unpack(">I", head[16:20])[0] == round(300 * COLUMN)


def test_parts_have_a_folder_each(fabricated: Callable[..., Path], tmp_path: Path) -> None:
    study = make_study(n_sizes=1, tasks=[])
    claim_parts(tmp_path, "mine", ["one", "none_yet"])
    with pytest.raises(UserError, match=r"no part of .* has a finished run"):
        export_figures(tmp_path, "svg", "paper", tmp_path / "out")
    fabricate(tmp_path / "one", study=study, inspected=False)
    export_figures(tmp_path, "svg", "paper", tmp_path / "out")
    assert (tmp_path / "out" / "one" / "training.svg").is_file()
    tex = (tmp_path / "out" / "captions.tex").read_text(encoding="utf-8")
    assert "keepaspectratio]{one/training.svg}" in tex
    assert r"\includesvg" in tex
    assert r"\label{fig:one-training}" in tex


def test_published_numbers(tmp_path: Path) -> None:
    reproduce_paper(tmp_path)
    files = export_figures(tmp_path, "pdf", "paper", tmp_path / "paper")
    assert [file.name for file in files] == [
        *("scaling.pdf", "scaling_6nd.pdf", "multipliers.pdf", "downstream.pdf"),
        *("captions.md", "captions.tex"),
    ]
    assert all(file.is_file() for file in files)


def labelled(label: str, size: float) -> Callable[[Theme], Drawing]:
    def draw(theme: Theme) -> Drawing:
        with themed(theme):
            figure = Drawing(figsize=(7, 3))
            axes = figure.subplots()
            axes.set_xlabel(label, fontsize=points(size))
            return figure

    return draw


def test_what_is_too_wide_for_a_column_is_not_put_into_one() -> None:
    figure, wide = drawn_for_paper(labelled("short", 11), LIGHT)
    assert (figure.get_figwidth(), wide) == (COLUMN, False)
    figure, wide = drawn_for_paper(labelled("much too long a text for a column" * 2, 11), LIGHT)
    assert (figure.get_figwidth(), wide) == (TEXT, True)


def test_a_wide_legend_gets_fewer_columns() -> None:
    def draw(theme: Theme) -> Drawing:
        with themed(theme):
            figure = Drawing(figsize=(7, 9))
            axes = figure.subplots()
            for place in range(6):
                axes.plot([0, 1], [place, place], label="A variant at 0.125× the rate of all")
            figure.legend(loc="outside upper center", ncols=legend_columns(6))
            return figure

    figure, wide = drawn_for_paper(draw, LIGHT)
    assert wide
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = text_boxes(figure, canvas)
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert len({round(text.get_window_extent().x0) for text in figure.legends[0].texts}) == 2


def test_letters_have_eight_to_nine_points() -> None:
    figure, _ = drawn_for_paper(labelled("text", 11), LIGHT)
    axes = figure.axes[0]
    sizes = [axes.xaxis.label.get_fontsize(), axes.get_xticklabels()[0].get_fontsize()]
    assert all(8 <= size <= 9 for size in sizes)
    assert (points(10), most_columns()) == (10, 3)


@pytest.mark.parametrize("where", [(0.5, 0.5), (0.5, 0.53), (0.98, 0.2)])
def test_what_overlaps_does_not_fit(where: tuple[float, float]) -> None:
    figure = Drawing(figsize=(3, 3))
    axes = figure.add_axes((0.2, 0.2, 0.75, 0.75))
    axes.set_axis_off()
    axes.text(0.5, 0.5, "here")
    assert fits(figure)
    axes.text(*where, "or there", fontsize=14)
    assert not fits(figure)


def test_a_line_through_a_text_does_not_fit() -> None:
    figure = Drawing(figsize=(3, 3))
    axes = figure.add_axes((0.2, 0.2, 0.75, 0.75))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.text(0.4, 0.5, "here")
    axes.plot([0, 1], [0.1, 0.2])
    assert fits(figure)
    axes.plot([0, 1], [0.4, 0.65])
    assert not fits(figure)


def test_a_page_is_drawn_as_before() -> None:
    drawn_for_paper(labelled("text", 11), LIGHT)
    speeds = {"variant": ["prenorm"], "parameters": [1e6], "relative_speed": [1.0]}
    speeds |= {"ci_low": [math.nan], "ci_high": [math.nan]}
    figure = draw_speed(pd.DataFrame(speeds), ["prenorm"], LIGHT)
    assert figure.get_figwidth() == 7
    assert figure.axes[0].xaxis.label.get_fontsize() == 11


def test_latex_reads_every_letter() -> None:
    assert latex_text("95% of A_1 & B: 3×10⁻⁵ “x” – {y}") == (
        r"95\% of A\_1 \& B: 3\ensuremath{\times}10\textsuperscript{-5} ``x'' -- \{y\}"
    )
    assert latex_text(r"a\b~c^d<e>") == (
        r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d\textless{}e\textgreater{}"
    )
    assert latex_text("⁻²") == r"\textsuperscript{-2}"


def test_captions_name_what_they_show() -> None:
    one = Captioned(Figure("a", "Title", "How | to.", "What."), "part/a.pdf")
    tex = latex_captions([one])
    assert tex.startswith(r"\begin{figure*}")
    assert r"\caption{\textbf{Title.} How | to.}" in tex
    assert markdown_captions([one]) == (
        "## part/a.pdf\n\n**Title.** How \\| to.\n\nAlternative text: What.\n"
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(), "either --table NAME or --figures"),
        (Wanted(table="fits", figures="pdf"), "either --table NAME or --figures"),
        (Wanted(table="fits", style="paper"), "--style and --out are of --figures"),
        (Wanted(table="fits", out=Path("x")), "--style and --out are of --figures"),
        (Wanted(figures="pdf", format="csv"), "--format is of --table"),
    ],
)
def test_options_that_do_not_go_together(wanted: Wanted, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export_results("never", wanted)


def test_what_is_no_results_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the figures of memory://x a folder by --out"):
        export_results("memory://x", Wanted(figures="pdf"))
    with pytest.raises(UserError, match="no results folder"):
        export_results(str(tmp_path / "absent"), Wanted(figures="pdf"))
    with pytest.raises(UserError, match=r"no study\.json"):
        export_results(str(tmp_path), Wanted(figures="pdf"))
