"""The committed reference study: its records give every committed table and figure again."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from attnres_eval.report.build import build_report

# By one process: the study is rebuilt once for all of them, which takes minutes.
pytestmark = pytest.mark.xdist_group("reference_results")

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
MADE = ("tables", "figures", "report.html", "report.md")
MOST_PIXELS = 1e-3
"""Share of a picture's bytes that another build of the drawing libraries may set otherwise."""


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "reference"
    shutil.copytree(REFERENCE, folder, ignore=shutil.ignore_patterns(*MADE))
    assert not list(folder.rglob("*.csv"))
    build_report(folder)
    return folder


def committed(pattern: str) -> list[Path]:
    """Tables and figures of the study, relative to it."""
    return sorted(made_files(REFERENCE, pattern))


def made_files(folder: Path, pattern: str) -> set[Path]:
    found = {path.relative_to(folder) for path in folder.rglob(pattern)}
    return {path for path in found if {"tables", "figures"} & set(path.parts)}


@pytest.mark.parametrize("suffix", ["csv", "json", "md", "tex", "svg"])
def test_tables_and_drawings_rebuild_to_the_same_bytes(rebuilt: Path, suffix: str) -> None:
    files = committed(f"*.{suffix}")
    assert files
    assert made_files(rebuilt, f"*.{suffix}") == set(files)
    for path in files:
        assert (rebuilt / path).read_bytes() == (REFERENCE / path).read_bytes(), path


def test_pictures_rebuild_to_the_same_pixels(rebuilt: Path) -> None:
    files = committed("*.png")
    assert files
    for path in files:
        ours, theirs = imread(rebuilt / path), imread(REFERENCE / path)
        assert ours.shape == theirs.shape, path
        assert np.mean(ours != theirs) <= MOST_PIXELS, path


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_the_page_is_committed_and_opens_with_the_ladder(rebuilt: Path, name: str) -> None:
    ours, theirs = ((root / name).read_text(encoding="utf-8") for root in (rebuilt, REFERENCE))
    # Where it says which versions of Python and libraries wrote it.
    ours, theirs = (re.sub("Report by attnres-eval[^<\n]*", "", text) for text in (ours, theirs))
    assert ours == theirs
    assert "above are those of part ladder." in ours
