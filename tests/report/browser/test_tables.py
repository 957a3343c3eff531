"""Tables in a browser: their numbers, their order, and what is copied from them."""

import csv
import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attnres_eval.analysis.tables import MISSING, display
from attnres_eval.report.assets import asset
from attnres_eval.report.captions import SPECIAL, SUPERSCRIPTS, latex_text
from attnres_eval.report.compare import SUMMARY
from attnres_eval.report.compare_table import SHOWN_DIGITS
from attnres_eval.report.page import Column, escape_markdown
from attnres_eval.report.style import label_title
from attnres_eval.report.views import VIEWS

# One process has the browser and builds the pages.
pytestmark = pytest.mark.xdist_group("browser")
KINDS = ("study", "sweep", "parts", "compare", "paper")
Opened = Callable[..., Any]

READ = """table => ({
  caption: table.caption.textContent,
  headings: [...table.tHead.rows[0].cells].map(cell => cell.textContent),
  numeric: [...table.tHead.rows[0].cells].map(cell => cell.classList.contains("number")),
  sorts: [...table.tHead.rows[0].cells].map(cell => cell.getAttribute("aria-sort")),
  rows: [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent)),
})"""
HARD = [
    ["a|b, \"c\"", "-0.2000", "0.9000 to 1.200", "40%", "5.98×10¹⁴", "d128", "1.5×"],
    ["line\nend, \\ & % $ # _ { } ~ ^ < > [x] `y` *z*", "1.230e+04", "–", "9.5%", "2.00×10⁻³",
     "d32", "0.9×"],
    ["“q” ’ – × · ≤ ≥ − ⁻⁵", "–", "-0.1000 to 0.2000", "100%", "–", "d64", "–"],
    ["é", "12,000", "0 to 5", "–", "1.00×10⁻⁴", "–", "10.0×"],
    ["", "9.876e-04", "0.8500 to 1", "0%", "3.10×10⁰", "d4", "2×"],
    ["a|a", "−5", "0.9000 to 1.100", "1.0%", "1.00×10¹⁵", "d96", "inf"],
]  # fmt: skip
"""Cells as they may be, and worse."""
ORDERS = {
    1: ["−5", "-0.2000", "9.876e-04", "12,000", "1.230e+04"],
    2: ["-0.1000 to 0.2000", "0 to 5", "0.8500 to 1", "0.9000 to 1.200", "0.9000 to 1.100"],
    3: ["0%", "1.0%", "9.5%", "40%", "100%"],
    4: ["1.00×10⁻⁴", "2.00×10⁻³", "3.10×10⁰", "5.98×10¹⁴", "1.00×10¹⁵"],
    5: ["d4", "d32", "d64", "d96", "d128"],
    6: ["0.9×", "1.5×", "2×", "10.0×", "inf"],
}
"""By column, its cells upwards, without the missing ones."""


def shown(table: Any) -> dict[str, Any]:
    found: dict[str, Any] = table.evaluate(READ)
    return found


def tables_of(page: Any) -> list[Any]:
    """All sortable tables of a page, unfolded."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found: list[Any] = page.locator(".scroll > table").all()
    assert found
    return found


@pytest.fixture
def hard(browser: Any, tmp_path: Path) -> Any:
    """A page of one table that is hard to sort and to copy, opened from disk."""
    rows = ["<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in HARD]
    heads = "".join(
        f'<th scope="col"{" class=number" if n in (1, 2) else ""}>{name}</th>'
        for n, name in enumerate(["Na|me", "x_y", "95% interval", "Share", "FLOPs", "Size", "By"])
    )
    file = tmp_path / "hard.html"
    file.write_text(
        f"<!doctype html><meta charset=utf-8><div class=scroll><table><caption>Hard</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<script>{asset('report.js')}</script>",
        encoding="utf-8",
    )
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(file.as_uri())
    yield page
    context.close()


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


@pytest.mark.parametrize("column", ORDERS)
def test_a_column_sorts_by_what_its_cells_mean(hard: Any, column: int) -> None:
    button = hard.locator("thead button").nth(column)
    table = hard.locator("table")
    button.click()
    up = [row[column] for row in shown(table)["rows"]]
    gone = [MISSING] * (len(HARD) - len(ORDERS[column]))
    assert up == ORDERS[column] + gone
    button.click()
    down = [row[column] for row in shown(table)["rows"]]
    # Missing values are last in both directions, and equal ones keep their order.
    assert down[len(down) - len(gone) :] == gone
    expected = ORDERS[column][::-1]
    if column == 2:
        expected[:2] = expected[:2][::-1]
    assert down[: len(expected)] == expected
    button.click()
    assert shown(table)["rows"] == HARD


def test_one_column_sorts_at_a_time_and_says_so(hard: Any) -> None:
    table = hard.locator("table")
    first, second = hard.locator("thead button").nth(0), hard.locator("thead button").nth(1)
    said = hard.get_by_role("status")
    first.click()
    assert shown(table)["sorts"] == ["ascending", *[None] * 6]
    assert said.inner_text() == "Sorted by Na|me, ascending"
    second.click()
    second.click()
    assert shown(table)["sorts"] == [None, "descending", *[None] * 5]
    assert hard.get_by_role("columnheader").nth(1).get_attribute("aria-sort") == "descending"
    second.click()
    assert shown(table)["sorts"] == [None] * 7
    assert said.inner_text() == "Original order"


def test_sorting_by_keyboard(hard: Any) -> None:
    hard.locator("thead button").nth(1).focus()
    hard.keyboard.press("Enter")
    assert shown(hard.locator("table"))["sorts"][1] == "ascending"
    hard.keyboard.press("Space")
    assert shown(hard.locator("table"))["sorts"][1] == "descending"
    assert hard.evaluate("document.activeElement.textContent") == "x_y"


def number(cell: str) -> float:
    return float(cell.split(" to ")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_of_numbers_on_a_page_sorts_as_numbers(opened: Opened, kind: str) -> None:
    sorted_columns = 0
    for table in tables_of(opened(kind)):
        before = shown(table)
        for column, numeric in enumerate(before["numeric"]):
            if not numeric:
                continue
            table.locator("thead button").nth(column).click()
            cells = [row[column] for row in shown(table)["rows"]]
            present = [cell for cell in cells if cell != MISSING]
            assert cells[: len(present)] == present
            assert all(number(a) <= number(b) for a, b in itertools.pairwise(present))
            sorted_columns += len(set(present)) > 1
        table.locator("thead button").first.click()
        after = shown(table)
        assert sorted(after["rows"]) == sorted(before["rows"])
    assert sorted_columns >= 3


def copied(page: Any, tools: Any, name: str) -> str:
    tools.get_by_role("button", name=f"Copy as {name}", exact=True).click()
    page.wait_for_function(
        "tools => /^Copied/.test(tools.querySelector('[role=status]').textContent)",
        arg=tools.element_handle(),
    )
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def from_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def without_missing(rows: list[list[str]]) -> list[list[str]]:
    return [["" if cell == MISSING else cell for cell in row] for row in rows]


def test_hard_cells_are_copied_whole(hard: Any) -> None:
    tools = hard.locator(".tools")
    headings = shown(hard.locator("table"))["headings"]
    assert from_csv(copied(hard, tools, "CSV")) == [headings, *without_missing(HARD)]
    assert tools.get_by_role("status").inner_text() == "Copied 6 rows as CSV"

    lines = copied(hard, tools, "Markdown").splitlines()
    assert lines[0] == f"| {' | '.join(map(escape_markdown, headings))} |"
    assert lines[1] == "| --- | ---: | ---: | --- | --- | --- | --- |"
    assert lines[2:] == [f"| {' | '.join(map(escape_markdown, row))} |" for row in HARD]
    assert r"a\|b" in lines[2]

    lines = copied(hard, tools, "LaTeX").splitlines()
    assert lines[:2] == [r"\begin{tabular}{lrrllll}", r"\toprule"]
    assert lines[2:4] == [" & ".join(map(latex_text, headings)) + r" \\", r"\midrule"]
    assert lines[4:-2] == [" & ".join(map(latex_text, row)) + r" \\" for row in HARD]
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


def test_hard_cells_are_all_that_latex_reads_otherwise() -> None:
    cells = "".join(cell for row in HARD for cell in row)
    assert set(SPECIAL) <= set(cells)
    assert set("⁻⁵") <= set(SUPERSCRIPTS) & set(cells)


def test_what_is_copied_has_the_order_that_is_seen(hard: Any) -> None:
    hard.locator("thead button").nth(1).click()
    rows = from_csv(copied(hard, hard.locator(".tools"), "CSV"))[1:]
    assert rows == without_missing(shown(hard.locator("table"))["rows"])
    assert rows != without_missing(HARD)


def test_copying_without_the_clipboard_interface(hard: Any) -> None:
    hard.evaluate(
        "() => { window.kept = navigator.clipboard; Object.defineProperty(navigator, 'clipboard',"
        " { value: undefined, configurable: true }); }"
    )
    tools = hard.locator(".tools")
    tools.get_by_role("button", name="Copy as CSV").click()
    hard.wait_for_function("/^Copied/.test(document.querySelector('[role=status]').textContent)")
    rows = from_csv(hard.evaluate("kept.readText()"))
    assert rows[1:] == without_missing(HARD)
    assert hard.evaluate("document.activeElement.textContent") == "CSV"
    assert hard.locator("textarea").count() == 0


def test_a_refused_copy_is_said(hard: Any) -> None:
    hard.evaluate(
        "() => { Object.defineProperty(navigator, 'clipboard', { value: undefined });"
        " document.execCommand = () => false; }"
    )
    hard.locator(".tools").get_by_role("button", name="Copy as LaTeX").click()
    hard.wait_for_function("document.querySelector('[role=status]').textContent !== ''")
    assert "nothing is copied" in hard.get_by_role("status").inner_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_of_a_page_is_copied_as_it_stands(opened: Opened, kind: str) -> None:
    page = opened(kind)
    for table, tools in zip(tables_of(page), page.locator(".tools").all(), strict=True):
        seen = shown(table)
        assert seen["caption"] in tools.get_attribute("aria-label")
        rows = from_csv(copied(page, tools, "CSV"))
        assert rows == [seen["headings"], *without_missing(seen["rows"])]
        lines = copied(page, tools, "Markdown").splitlines()
        assert len(lines) == len(seen["rows"]) + 2
        lines = copied(page, tools, "LaTeX").splitlines()
        assert len(lines) == len(seen["rows"]) + 6


def expected_cells(frame: pd.DataFrame, column: Column) -> list[str]:
    """A column of a CSV file as a page is to show it."""
    if isinstance(column, tuple):
        ends = [expected_cells(frame, name) for name in column]
        return [
            MISSING if MISSING in pair else " to ".join(pair) for pair in zip(*ends, strict=True)
        ]
    if column in ("variant", "sweep"):
        return ["all" if pd.isna(label) else label_title(label) for label in frame[column]]
    return [display(value) for value in frame[column]]


def read_csv(file: Path) -> pd.DataFrame:
    """A table whose whole numbers stay whole beside missing ones."""
    frame = pd.read_csv(file)
    texts = pd.read_csv(file, dtype=str)
    for name in frame.columns[frame.isna().any()]:
        if texts[name].dropna().str.fullmatch(r"-?\d+").all():
            frame[name] = frame[name].astype("Int64")
    return frame


def assert_shows(page: Any, caption: str, columns: dict[str, Column], frame: pd.DataFrame) -> None:
    """A table with this caption has the numbers of the frame, row by row."""
    cells = [expected_cells(frame, column) for column in columns.values()]
    rows = [list(row) for row in zip(*cells, strict=True)]
    found = [shown(table) for table in page.locator(".scroll > table").all()]
    same = [one for one in found if one["caption"] == caption]
    assert list(columns) in [one["headings"] for one in same]
    assert rows in [one["rows"] for one in same]


@pytest.mark.parametrize("kind", ["study", "sweep", "parts"])
def test_numbers_on_the_page_are_those_of_the_tables(
    opened: Opened, pages: dict[str, Path], kind: str
) -> None:
    page = opened(kind)
    captions = {shown(table)["caption"] for table in page.locator(".scroll > table").all()}
    checked = 0
    for file in sorted(pages[kind].parent.glob("**/tables/*.csv")):
        one = VIEWS.get(file.stem)
        if one is None or one.caption not in captions or "runs" in file.parts:
            continue
        if not file.read_text(encoding="utf-8").count("\n") > 1:
            continue
        assert_shows(page, one.caption, one.columns, read_csv(file))
        checked += 1
    assert checked >= 4


def test_numbers_of_a_comparison_are_those_of_its_table(
    opened: Opened, pages: dict[str, Path]
) -> None:
    page = opened("compare")
    frame = read_csv(pages["compare"].parent / "tables" / "comparison.csv")
    frame["data"] = [sha256[:SHOWN_DIGITS] for sha256 in frame["data_sha256"]]
    (caption,) = {
        found["caption"]
        for table in page.locator(".scroll > table").all()
        if (found := shown(table))["headings"] == list(SUMMARY)
    }
    assert_shows(page, caption, SUMMARY, frame)


def test_published_numbers_are_those_of_their_tables(
    opened: Opened, pages: dict[str, Path]
) -> None:
    page = opened("paper")
    frame = pd.read_csv(pages["paper"].parent / "tables" / "downstream.csv")
    (found,) = [
        found
        for table in page.locator(".scroll > table").all()
        if (found := shown(table))["caption"].startswith("Table 3")
    ]
    assert [row[0] for row in found["rows"]] == list(frame["task"])
    for place, name in enumerate(["baseline", "block_attnres", "difference"], 1):
        assert [row[place] for row in found["rows"]] == [display(x) for x in frame[name]]


def test_a_phone_keeps_the_first_column_in_view(opened: Opened) -> None:
    page = opened("study", "phone")
    box = page.locator(".scroll:has(> table)").nth(1)
    box.scroll_into_view_if_needed()
    before = box.locator("tbody td").first.bounding_box()
    box.evaluate("box => { box.scrollLeft = 120; }")
    after = box.locator("tbody td").first.bounding_box()
    assert box.evaluate("box => box.scrollLeft") == 120
    assert after["x"] == pytest.approx(before["x"], abs=1)
    moved = box.locator("tbody tr").first.locator("td").nth(1).bounding_box()
    assert moved["x"] < after["x"] + after["width"]
    assert re.fullmatch(
        r"rgb\(\d+, \d+, \d+\)",
        box.locator("td").first.evaluate("e => getComputedStyle(e).backgroundColor"),
    )
