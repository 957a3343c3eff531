"""Several studies side by side."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fabricate import fabricate, make_study, rewrite
from page_reader import Reader, hashes, read

from attnres_eval.errors import UserError
from attnres_eval.report.build import build_report
from attnres_eval.report.command import report_on
from attnres_eval.report.compare import compare_studies, short_names
from attnres_eval.report.compare_table import multiplier_rows_of
from attnres_eval.study import Study
from attnres_eval.sweep.parts import claim_parts

NO_TASKS: dict[str, Any] = {"tasks": [], "n_sizes": 3}


def study(folder: Path, multiplier: float = 1.3, number: int = 0, **shape: Any) -> Path:
    """A study of three variants, without benchmarks and inspections."""
    plan = make_study(**{**NO_TASKS, **shape})
    return fabricate(
        folder,
        study=plan,
        multipliers={"block_attnres": multiplier},
        inspected=False,
        random_seed=number,
    )


def page_of(folders: list[Path], out: Path) -> Reader:
    return read(compare_studies([(str(folder), folder) for folder in folders], out))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page over three studies: two with the same truth, one with another; and their folders."""
    folder = tmp_path_factory.mktemp("three")
    study(folder / "a")
    study(folder / "b", number=1)
    fabricate(
        folder / "c",
        study=make_study(**NO_TASKS),
        multipliers={"block_attnres": 0.8},
        step_times={"block_attnres": 1.2},
        inspected=False,
    )
    page_of([folder / name for name in "abc"], folder / "out")
    return folder


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "tables" / "comparison.csv")


def test_numbers_are_those_of_each_study(three: Path) -> None:
    table = table_of(three / "out")
    assert list(table["study"]) == ["a", "a", "b", "b", "c", "c"]
    for name in "abc":
        build_report(three / name)
        own = pd.read_csv(three / name / "tables" / "multipliers.csv")
        own = own[own["model"] == "shared exponent"].set_index("variant")
        differences = pd.read_csv(three / name / "tables" / "differences.csv")
        differences = differences[differences["size"] == "d64"].set_index("variant")
        for _, row in table[table["study"] == name].iterrows():
            for key in ("multiplier", "ci_low", "ci_high"):
                assert row[key] == own.loc[row["variant"], key]
            assert row["difference"] == differences.loc[row["variant"], "difference"]
            assert (row["size"], row["n_seeds"], row["n_sizes"]) == ("d64", 3, 3)
            assert (row["learning_rate"], row["precision"]) == (0.003, "fp32")
            assert pd.isna(row["multiplier_time"]) == (name != "c")


def test_where_they_agree(three: Path) -> None:
    markdown = (three / "out" / "report.md").read_text(encoding="utf-8")
    headline = markdown.splitlines()[2]
    assert "3 studies side by side" in headline
    assert "Block AttnRes differ between studies by more than their intervals allow" in headline
    agree = markdown[markdown.index("## Where they agree") : markdown.index("## What can be")]
    full, block, caution = [line for line in agree.splitlines()[1:] if line]
    assert "All intervals overlap." in full
    assert "The intervals of a and c and b and c do not overlap." in block
    assert "Those of a and b lie above 1 and that of c lies below 1." in block
    assert caution.startswith("6 pairs of intervals compared.")
    assert "in nats per token can be compared" in markdown
    assert "not comparable" not in markdown


def test_the_page_needs_nothing_else(three: Path) -> None:
    reader = read(three / "out" / "report.html")
    images = [str(image["src"]) for image in reader.all("img")]
    assert len(images) == 4
    assert all(image.startswith("data:image/svg+xml;base64,") for image in images)
    ids = [str(found["id"]) for _, found in reader.tags if "id" in found]
    assert len(ids) == len(set(ids))
    markdown = (three / "out" / "report.md").read_text(encoding="utf-8")
    files = re.findall(r"!\[.+?\]\((.+?)\)", markdown)
    assert files[0] == "figures/multipliers.png"
    assert files[1:] == [f"figures/{n}-{name}/scaling.png" for n, name in enumerate("abc", 1)]
    assert all((three / "out" / file).is_file() for file in files)


def test_it_comes_out_the_same_and_leaves_the_studies_alone(three: Path) -> None:
    first = hashes(three / "out")
    before = hashes(three / "a")
    page_of([three / name for name in "abc"], three / "out")
    assert hashes(three / "out") == first
    assert hashes(three / "a") == before


def test_other_data_are_said(tmp_path: Path) -> None:
    folders = [study(tmp_path / "a", n_sizes=1), study(tmp_path / "b", n_sizes=1)]
    for summary in (folders[1] / "runs").glob("*/summary.json"):
        rewrite(summary, data_sha256="e" * 64)
    reader = page_of(folders, tmp_path / "out")
    text = " ".join(reader.text.split())
    assert "differ between a | b: across this divide losses" in text
    assert "in nats per token can be compared" not in text
    assert "no variant has a compute multiplier with an interval in two of them" in text
    # Without a multiplier there is no figure of them, and each study opens with its differences.
    assert len(reader.all("img")) == 2
    assert "nan" not in re.findall(r"\w+", text)


def test_one_label_may_mean_two_things(tmp_path: Path) -> None:
    plan = make_study(**NO_TASKS)
    values = plan.model_dump(mode="json")
    values["variants"]["block_attnres"] = {"num_blocks": 2}
    fabricate(tmp_path / "b", study=Study.model_validate(values), inspected=False)
    text = page_of([study(tmp_path / "a"), tmp_path / "b"], tmp_path / "out").text
    assert "is not the same in all studies: a | b." in text
    assert "Block AttnRes: no two studies have intervals that can be compared." in text
    assert "the intervals of the compute multiplier of Full AttnRes overlap" in text


def test_parts_stand_for_what_their_page_opens_with(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    claim_parts(parts, "mine", ["rates", "ladder", "later"], None)
    with pytest.raises(UserError, match=r"no part of .* has a finished run"):
        page_of([parts, parts], tmp_path / "out")
    study(parts / "rates", n_sizes=1)
    study(parts / "ladder", multiplier=1.2)
    other = study(tmp_path / "other", number=1)
    page_of([parts, other], tmp_path / "out")
    table = table_of(tmp_path / "out")
    assert list(table["study"].unique()) == ["parts", "other"]
    assert list(table["n_sizes"]) == [3, 3, 3, 3]
    claim_parts(parts, "mine", ["rates", "ladder", "later"], "rates")
    page_of([parts, other], tmp_path / "out")
    assert list(table_of(tmp_path / "out")["n_sizes"]) == [1, 1, 3, 3]
    with pytest.raises(UserError, match=r"rates is there twice|parts is there twice"):
        page_of([parts, parts / "rates"], tmp_path / "out")


def test_bad_folders_are_one_line(fabricated: Callable[..., Path], tmp_path: Path) -> None:
    folder = str(fabricated(study=make_study(n_sizes=1, tasks=[]), inspected=False))
    with pytest.raises(UserError, match="by --out"):
        report_on([folder, folder], None)
    with pytest.raises(UserError, match="one has its page in its folder"):
        report_on([folder], tmp_path / "out")
    with pytest.raises(UserError, match="is there twice"):
        report_on([folder, f"{folder}/."], tmp_path / "out")
    with pytest.raises(UserError, match=r"no study\.json"):
        report_on([folder, str(tmp_path)], tmp_path / "out")
    with pytest.raises(UserError, match="is a results folder, whose own page"):
        report_on([folder, str(tmp_path / "x")], Path(folder))
    assert not (tmp_path / "out").exists()


def test_one_folder_is_rebuilt(fabricated: Callable[..., Path]) -> None:
    folder = fabricated(study=make_study(n_sizes=1, tasks=[]), inspected=False)
    assert report_on([str(folder)], None) == str(folder / "report.html")


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["/x/a", "/x/b"], ["a", "b"]),
        (["/x/a", "/y/a", "/x/b/"], ["x/a", "y/a", "x/b"]),
        (["s3://bucket/one/r", "/two/r"], ["one/r", "two/r"]),
        (["/a", "/b/a"], ["/a", "b/a"]),
    ],
)
def test_names_are_as_short_as_they_can_be(places: list[str], names: list[str]) -> None:
    assert short_names(places) == names


def test_a_multiplier_that_is_missing_is_not_drawn() -> None:
    table = pd.DataFrame(
        {
            "study": ["a", "b"],
            "variant": ["block_attnres", "block_attnres"],
            "multiplier": [1.2, None],
            "ci_low": [None, None],
            "ci_high": [None, None],
            "multiplier_time": [1.1, None],
            "ci_low_time": [1.0, None],
            "ci_high_time": [1.2, None],
        }
    )
    rows = multiplier_rows_of(table)
    assert list(rows["row"]) == ["a: Block AttnRes", "at equal time"]
    assert list(rows["multiplier"]) == [1.2, 1.1]
