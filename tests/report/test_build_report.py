import csv
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fabricate import make_study
from page_reader import hashes, read

from attnres_eval.errors import UserError
from attnres_eval.report.build import build_report, export_table
from attnres_eval.report.charts.embed import runtime
from attnres_eval.report.page import escape_markdown, read_table


def test_report_holds_everything_and_comes_out_the_same(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(multipliers={"block_attnres": 1.3})
    page = build_report(folder)
    assert page == folder / "report.html"
    tables = {path.stem for path in (folder / "tables").iterdir()}
    assert {"losses", "multipliers", "benchmarks", "paired", "task_scaling"} <= tables
    for name in tables:
        for suffix in ("csv", "md", "tex", "json"):
            assert (folder / "tables" / f"{name}.{suffix}").stat().st_size
    first = hashes(folder)
    for made in ("tables", "figures"):
        shutil.rmtree(folder / made)
    build_report(folder)
    assert hashes(folder) == first


def test_the_page_needs_nothing_else(built: Path) -> None:
    assert built.stat().st_size < 3e6
    reader = read(built)
    source = re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "", built.read_text())
    # It names XML's spaces and its own schemas; that it asks for nothing, a browser tells.
    assert source.count(str(runtime())) == 1
    source = source.replace(str(runtime()), "")
    assert not re.search(r"https?://|//cdn|@import|url\(", source)
    scripts = reader.all("script")
    assert scripts
    assert not any("src" in script for script in scripts)
    assert not reader.all("link")
    images, darker = reader.all("img"), reader.all("source")
    assert len(images) == len(darker) == 9
    for image in images:
        assert str(image["src"]).startswith("data:image/svg+xml;base64,")
        assert len(str(image["alt"])) > 40
    assert {str(item["media"]) for item in darker} == {"screen and (prefers-color-scheme: dark)"}


def test_the_page_can_be_walked(built: Path) -> None:
    reader = read(built)
    anchors = {attributes.get("id") for _, attributes in reader.tags}
    links = [str(link["href"]) for link in reader.all("a")]
    assert links[0] == "#report"
    assert all(link.removeprefix("#") in anchors for link in links)
    assert len(reader.all("main")) == len(reader.all("h1")) == 1
    assert reader.all("html")[0]["lang"] == "en"
    assert len(reader.all("table")) == len(reader.all("caption")) == 13
    # Every table scrolls inside its own box, so that the page itself never does.
    boxes = [box for box in reader.all("div") if box.get("class") == "scroll"]
    assert len(boxes) == 9 + 13
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_html_in_a_name_stays_text(built: Path, fabricated: Callable[..., Path]) -> None:
    study = make_study()
    evil = "<script>alert('x')</script> & [link](http:x)"
    page = build_report(fabricated(study=study.model_copy(update={"description": evil})))
    reader = read(page)
    assert len(reader.all("script")) == len(read(built).all("script"))
    assert evil in reader.text
    markdown = page.with_suffix(".md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "[link]" not in markdown


def test_markdown_links_its_figures(built: Path) -> None:
    markdown = built.with_suffix(".md").read_text(encoding="utf-8")
    links = re.findall(r"!\[(.+?)\]\((.+?)\)", markdown)
    assert len(links) == 9
    assert all((built.parent / file).is_file() for _, file in links)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) > 30
    assert len({line.count(" |") for line in rows[:3]}) == 1


def test_missing_runs_are_holes(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(missing=["block_attnres-d32-s0"])
    reader = read(build_report(folder))
    assert "26 of 27 planned runs have finished" in reader.text
    assert "block_attnres-d32-s0" in reader.text
    losses = {
        row["run"]: row["nats_per_token"]
        for row in csv.DictReader(io.StringIO(export_table(folder, "losses", "csv")))
    }
    assert losses["block_attnres-d32-s0"] == ""
    assert all(value for run, value in losses.items() if run != "block_attnres-d32-s0")


def test_labels_without_a_multiplier_have_a_sentence_and_no_rows(
    fabricated: Callable[..., Path],
) -> None:
    study = make_study(labels=("prenorm", "full_attnres", "block_attnres", "mhc"))
    gone = [f"mhc-{size}-s{seed}" for size in ("d48", "d64") for seed in (0, 1, 2)]
    build_report(folder := fabricated(study=study, missing=gone))
    found = (folder / "report.md").read_text(encoding="utf-8")
    section = found.split("## Compute multipliers")[1].split("\n## ")[0]
    assert "mHC: no multiplier (one size" in section
    table = section.split("Compute multipliers by variant and fit model")[1]
    rows = table.split("\n\n")[1].splitlines()[2:]
    assert {row.split(" | ")[0] for row in rows} == {"| Full AttnRes", "| Block AttnRes"}
    # One label's want of sizes does not take the others' coverage.
    assert not [row for row in rows if "shared exponent |" in row and "| – |" in row]


@pytest.mark.parametrize(
    "shape",
    [
        {"seeds": [0]},
        {"n_sizes": 1},
        {"n_sizes": 2, "tasks": []},
        {"labels": ["prenorm"]},
        {"labels": ["prenorm", "other_options"]},
    ],
    ids=str,
)
def test_small_studies_have_reports_too(
    shape: dict[str, Any], fabricated: Callable[..., Path]
) -> None:
    reader = read(build_report(fabricated(study=make_study(**shape))))
    assert not re.search(r"\bnan\b", reader.text, re.IGNORECASE)
    assert "saves compute here" not in reader.text


def test_without_inspections_there_is_no_section(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(inspected=False)
    reader = read(build_report(folder))
    assert "Inside the networks" not in reader.text
    assert not (folder / "figures" / "mixing.svg").exists()
    assert export_table(folder, "mixing", "csv").startswith("variant,size,source")


def test_export(built: Path) -> None:
    folder = built.parent
    text = export_table(folder, "multipliers", "csv")
    assert text == (folder / "tables" / "multipliers.csv").read_text().rstrip("\n")
    assert r"\toprule" in export_table(folder, "fits", "latex")
    assert "PreNorm" not in export_table(folder, "losses", "table")


def test_bad_input_is_one_line(built: Path, tmp_path: Path) -> None:
    folder = built.parent
    with pytest.raises(UserError, match=r"no table 'multiplier'; did you mean multipliers\?"):
        export_table(folder, "multiplier", "csv")
    with pytest.raises(UserError, match=r"no table 'qqqq'; there are benchmarks, best_rates"):
        export_table(folder, "qqqq", "csv")
    with pytest.raises(UserError, match="unknown format 'xml'"):
        export_table(folder, "fits", "xml")
    with pytest.raises(UserError, match="no results folder"):
        build_report(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no study\.json"):
        export_table(tmp_path / "empty", "fits", "csv")


def test_no_finished_run(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(missing=[config.run for config in make_study().runs()])
    with pytest.raises(UserError, match="no finished run"):
        build_report(folder)


def test_text_for_markdown() -> None:
    assert escape_markdown("a|b <i> *c* [d]\ne") == r"a\|b &lt;i> \*c\* \[d\] e"


def test_read_tables_show_titles_intervals_and_gaps() -> None:
    frame = pd.DataFrame(
        {"variant": ["block_attnres", "mine"], "x": [1.0, None], "low": [0.5, None], "high": [2, 3]}
    )
    table = read_table(frame, {"Variant": "variant", "X": "x", "Interval": ("low", "high")}, "C")
    assert table.rows == [["Block AttnRes", "1.000", "0.5000 to 2"], ["mine", "–", "–"]]
    assert table.numeric == [False, True, True]
