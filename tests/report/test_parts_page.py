"""One page over the parts of a study, its protocol, and its provenance."""

import base64
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fabricate import fabricate, make_study
from page_reader import Reader, hashes, read

from attnres_eval.errors import UserError
from attnres_eval.files import sha256_of_file
from attnres_eval.report.build import build_report, export_table
from attnres_eval.report.figures import Figure
from attnres_eval.report.markup import rendered_markdown
from attnres_eval.report.page import Page, Section, Table
from attnres_eval.report.parts_page import Part, parts_page
from attnres_eval.study_file import Source
from attnres_eval.sweep.origin import write_origin
from attnres_eval.sweep.parts import claim_parts

PROTOCOL = "# Why\n\nSince *we* ask. <b>bold</b>\n\n## How\n\n- so\n\n![x](y.png)\n"


@dataclass(frozen=True)
class Composed:
    """A study of three parts, of which the last was not begun."""

    folder: Path
    page: Path
    reader: Reader
    markdown: str


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    folder = tmp_path_factory.mktemp("composed")
    claim_parts(folder, "mine", ["rates", "ladder", "later"], "ladder")
    write_origin(folder, Source("mine.yaml", "a" * 64, PROTOCOL))
    one_size = make_study(n_sizes=1).model_copy(update={"description": "Which rate?"})
    fabricate(folder / "rates", study=one_size, inspected=False)
    fabricate(folder / "ladder", multipliers={"block_attnres": 1.3}, inspected=False)
    page = build_report(folder)
    return Composed(folder, page, read(page), page.with_suffix(".md").read_text(encoding="utf-8"))


def test_the_page_opens_with_the_named_part(composed: Composed) -> None:
    text = " ".join(composed.reader.text.split())
    opening = text[: text.index("Parts")]
    assert "Block AttnRes saves compute here" in opening
    number = re.search(r"1\.\d\d× compute multiplier of Block AttnRes over .* to 1\.\d\d", opening)
    own = " ".join(read(composed.folder / "ladder" / "report.html").text.split())
    assert number
    assert number[0] in own
    assert "2 of 3 parts have finished runs." in text
    assert "number and picture above are those of part ladder" in text
    assert "Its sentence, number and picture open this page." in text
    assert "9 of 9" in text
    assert "not begun" in text


def test_every_part_is_a_chapter(composed: Composed) -> None:
    chapters = re.findall(r"^## (.*)$", composed.markdown, re.MULTILINE)
    assert chapters == [
        *("Parts", "Beside the published claims"),
        *("Part rates", "Part ladder", "Part later"),
        *("How to read this", "Protocol", "Provenance"),
    ]
    sections = re.findall(r"^### (.*)$", composed.markdown, re.MULTILINE)
    assert sections.count("Losses and training") == sections.count("What was run") == 2
    headings = [tag for tag, _ in composed.reader.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    # No level is left out on the way down.
    levels = [int(tag[1]) for tag in headings]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_names_are_unique_and_all_links_lead_somewhere(composed: Composed) -> None:
    ids = [str(found["id"]) for _, found in composed.reader.tags if "id" in found]
    assert len(ids) == len(set(ids))
    links = [str(link["href"]) for link in composed.reader.all("a")]
    for link in links:
        assert link[1:] in ids if link[0] == "#" else (composed.folder / link).is_file()
    files = re.findall(r"\]\(([^)]+)\)", composed.markdown)
    assert "ladder/figures/scaling.png" in files
    assert all((composed.folder / file).is_file() for file in files)


def test_every_picture_of_a_part_is_in_the_page_once(composed: Composed) -> None:
    images = [str(image["src"]) for image in composed.reader.all("img")]
    assert len(images) == len(set(images))
    for part in ("rates", "ladder"):
        own = read(composed.folder / part / "report.html")
        assert {str(image["src"]) for image in own.all("img")} <= set(images)
    drawn = (composed.folder / "ladder" / "figures" / "scaling.svg").read_bytes()
    assert images[0] == "data:image/svg+xml;base64," + base64.b64encode(drawn).decode()


def test_the_page_comes_out_the_same(composed: Composed) -> None:
    first = hashes(composed.folder)
    build_report(composed.folder)
    assert hashes(composed.folder) == first


def test_the_protocol_is_shown(composed: Composed) -> None:
    source = composed.page.read_text(encoding="utf-8")
    assert "<em>we</em> ask. &lt;b&gt;bold&lt;/b&gt;" in source
    assert "<h3>Why</h3>" in source
    assert "<h4>How</h4>" in source
    assert "![x](y.png)" in composed.reader.text
    assert "It has not changed" in composed.reader.text
    assert sha256_of_file(composed.folder / "protocol.md") in composed.reader.text


def test_provenance_says_how_to_make_it_anew(composed: Composed) -> None:
    text = composed.reader.text
    assert "attnres-eval report DIR" in text
    assert "attnres-eval reproduce --study mine.yaml --out DIR" in text
    assert "a" * 64 in text
    for table in ("rates/tables/losses.csv", "ladder/tables/fits.csv"):
        row = f"| {table} | {sha256_of_file(composed.folder / table)} |"
        assert row in composed.markdown
    # Both ran on one machine, which is said once.
    assert text.count("Trained on Fabricated (cpu)") == 1


def test_a_changed_protocol_is_said(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(study=make_study(n_sizes=1, tasks=[]), inspected=False)
    for text in ("before", "after"):
        write_origin(folder, Source("mine.yaml:one two", "a" * 64, text))
    reader = read(build_report(folder))
    assert re.search("It has changed .* its SHA-256 was [0-9a-f]{64}", reader.text)
    assert "--study 'mine.yaml:one two'" in reader.text
    (folder / "protocol.md").write_text("other", encoding="utf-8")
    with pytest.raises(UserError, match=r"protocol\.md has changed"):
        build_report(folder)


def test_a_folder_of_before_has_its_commands_too(built: Path) -> None:
    reader = read(built)
    assert "attnres-eval reproduce --study fabricated --out DIR" in reader.text
    assert "Protocol" not in reader.text


def test_tables_are_those_of_a_part(composed: Composed) -> None:
    with pytest.raises(UserError, match=r"name one of .*rates, .*ladder, .*later"):
        export_table(composed.folder, "fits")


def page(number: str = "", machine: str = "one", lead: Figure | None = None) -> Page:
    return Page(
        title="",
        headline=f"headline {number}",
        number=number,
        number_note="note",
        lead=lead,
        sections=[
            Section("Body"),
            Section("End", ["All say this.", f"Machine {machine}."], place="closing"),
        ],
    )


def opened_by(parts: list[Part], headline: str | None) -> str:
    return parts_page("mine", parts, headline).headline


def test_which_part_the_page_opens_with() -> None:
    parts = [Part("a", page=page()), Part("b", page=page("2×")), Part("c", page=page("3×"))]
    assert opened_by(parts, "c") == "headline 3×"
    assert opened_by(parts, "a") == "headline "
    assert opened_by(parts, None) == "headline 2×"
    assert opened_by(parts[:1], None) == "headline "
    absent = parts_page("mine", [*parts, Part("d", "Words.", 3)], "d")
    assert absent.headline == "headline 2×"
    assert "Part d, which this page is to open with" in absent.sections[0].paragraphs[0]
    chapter = next(s for s in absent.sections if s.heading == "Part d")
    assert chapter.paragraphs == ["Words.", "No run has finished yet."]
    with pytest.raises(UserError, match="no part of study mine has a finished run"):
        parts_page("mine", [Part("a"), Part("b", planned=3)], "b")


def test_what_parts_say_alike_is_said_once() -> None:
    parts = [Part("a", page=page()), Part("b", page=page(machine="two")), Part("c", page=page())]
    *_, end = parts_page("mine", parts, None).sections
    assert end.paragraphs == [
        "All say this.",
        "Parts a and c: Machine one.",
        "Part b: Machine two.",
    ]


def test_links_to_elsewhere_stay_links() -> None:
    assert '<a href="https://x.org/y">z</a>' in rendered_markdown("[z](https://x.org/y)", 3)


def test_what_not_all_parts_have_at_the_end_is_named() -> None:
    table = Table("Numbers", ["x"], [True], [["1"]])
    own = Section("Only here", ["Words."], tables=[table], place="closing")
    first = page()
    first = Page(**{**vars(first), "sections": [*first.sections, own]})
    *_, end = parts_page("mine", [Part("a", page=first), Part("b", page=page())], None).sections
    assert end.paragraphs == ["Part a: Words."]
    assert end.tables == [Table("Numbers", ["Part", "x"], [False, True], [["a", "1"]])]


def test_what_opens_stands_once_before_the_chapters() -> None:
    def saying(value: str) -> Page:
        table = Table("Numbers", ["x"], [True], [[value]])
        own = Section("First", ["Words."], tables=[table], place="opening")
        return Page(**{**vars(page()), "sections": [Section("Body"), own]})

    parts = [Part("a", page=saying("1")), Part("b", page=saying("2")), Part("c", page=page())]
    sections = parts_page("mine", parts, None).sections
    headings = [section.heading for section in sections]
    assert headings[:3] == ["Parts", "First", "Part a"]
    assert headings.count("First") == 1
    assert sections[1].paragraphs == ["Parts a and b: Words."]
    assert sections[1].tables[0].rows == [["a", "1"], ["b", "2"]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("### low\n# high", "<h5>low</h5>\n<h3>high</h3>"),
        ("| a |\n| - |\n| b |", "<td>b</td>"),
        ("[x](../y.md) ![z](w.png)", "[x](../y.md) ![z](w.png)"),
        ("###### deep\n# high", "<h6>deep</h6>"),
    ],
)
def test_markdown_is_text_alone(text: str, shown: str) -> None:
    html = rendered_markdown(text, 3)
    assert shown in html
    assert "<script" not in html
    assert "href" not in html
