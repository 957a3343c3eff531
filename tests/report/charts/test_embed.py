"""How charts get into a page."""

import re
from pathlib import Path

import pandas as pd
import pytest
from charted import Charted
from page_reader import read

from attnres_eval.report.charts.chart import Chart, columns
from attnres_eval.report.charts.embed import chart_json, page_json, runtime, variants
from attnres_eval.report.charts.look import OUTLINES, SHAPES, Looks, short_title
from attnres_eval.report.charts.training import training_chart
from attnres_eval.report.figures import Figure, save_figure
from attnres_eval.report.output import saving_as
from attnres_eval.report.page import Page, Section, write_page


def written(folder: Path, charts: list[Chart | None]) -> Path:
    figures = [
        Figure(f"f{number}", "A title", "A caption.", "A finding.", chart=chart)
        for number, chart in enumerate(charts)
    ]
    for figure in figures:
        for file in figure.files():
            (folder / "figures").mkdir(exist_ok=True)
            (folder / "figures" / file).write_bytes(b"<svg/>")
    return write_page(
        Page("T", "A headline.", "", "", None, [Section("All of them", figures=figures)]), folder
    )


def curves(label: str = "block_attnres", text: str = "prenorm") -> Chart:
    smooth = pd.DataFrame({text: [3.0, 2.0], label: [3.1, 1.9]}, index=[100, 200])
    return training_chart(smooth, [text, label], text)


def test_a_page_has_the_runtime_once_however_many_charts(tmp_path: Path) -> None:
    text = written(tmp_path, [curves(), curves(), None]).read_text(encoding="utf-8")
    assert text.count(str(runtime())) == 1
    assert text.count('class="chart-data"') == 2
    assert text.count('id="chart-page"') == 1
    read(tmp_path / "report.html")


def test_a_page_without_charts_has_none_of_it(tmp_path: Path) -> None:
    text = written(tmp_path, [None]).read_text(encoding="utf-8")
    assert "vegaEmbed" not in text
    assert "chart" not in text
    assert "chart-data" in written(tmp_path, [curves()]).read_text(encoding="utf-8")


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    page = written(tmp_path, [curves()])
    for _, attributes in read(page).tags:
        for name in ("src", "href", "srcset"):
            assert not str(attributes.get(name, "")).startswith(("http:", "https:", "//"))
    text = page.read_text(encoding="utf-8")
    # Names of schemas and documentation alone: nothing is fetched from them.
    known = {"www.w3.org", "vega.github.io", "github.com"}
    assert set(re.findall(r"https?://([\w.-]+)", text)) <= known


def test_the_same_charts_give_the_same_page(tmp_path: Path) -> None:
    first = written(tmp_path, [curves()]).read_bytes()
    assert written(tmp_path, [curves()]).read_bytes() == first


def test_no_text_of_a_chart_ends_its_element() -> None:
    evil = "</script><!-- x"
    for text in (chart_json(curves(evil)), page_json([curves(evil)])):
        assert "<" not in text
        assert "\\u003c/script>" in text


def test_a_figure_for_a_paper_has_no_chart(study: Charted, tmp_path: Path) -> None:
    from attnres_eval.report.plot_training import draw_training

    metrics = pd.DataFrame(
        {"label": "prenorm", "seed": 0, "run": "a", "tokens": [1, 2], "loss": [2.0, 1.0]}
    )

    def draw(theme):  # type: ignore[no-untyped-def]
        return draw_training(metrics, ["prenorm"], "prenorm", theme)

    figure = Figure("f", "T", "C", "A")
    with saving_as("paper", "svg"):
        assert save_figure(figure, draw, tmp_path, curves).chart is None
    assert save_figure(figure, draw, tmp_path, curves).chart == curves()


def test_the_legend_groups_rates_and_keeps_what_differs_between_studies() -> None:
    labels = ["prenorm", "mhc", "mhc_x0.5", "mine"]
    first = Chart(Looks.of(labels, labels), {}, ())
    second = Chart(Looks.of(["mine"], ["other", "mine"]), {}, ())
    found = variants([first, second])
    assert [group["title"] for group in found] == ["PreNorm", "mHC", "mine"]
    rates = [label["rate"] for label in found[1]["labels"]]
    assert rates == ["0.5×", "1×"]
    colours = [look["colour"] for group in found[1]["labels"] for look in group["looks"]]
    assert len(set(colours)) == 1
    assert len(found[0]["labels"][0]["looks"]) == 1
    assert len(found[2]["labels"][0]["looks"]) == 2


def test_every_marker_has_an_outline() -> None:
    assert all(shape in OUTLINES or shape.startswith("M") for shape in SHAPES.values())


@pytest.mark.parametrize(
    ("label", "title"),
    [("mhc", "mHC"), ("mhc_x0.5", "mHC 0.5×"), ("mhc_own", "mHC own rate"), ("mine", "mine")],
)
def test_short_titles(label: str, title: str) -> None:
    assert short_title(label) == title


def test_missing_numbers_are_null_and_whole_ones_whole() -> None:
    frame = pd.DataFrame(
        {"variant": ["mhc"], "a": [float("nan")], "b": [12.0], "c": [1 / 3], "d": [float("inf")]}
    )
    assert columns(frame) == {
        "label": ["mhc"],
        "title": ["mHC"],
        "a": [None],
        "b": [12],
        "c": [0.3333333],
        "d": [None],
    }
