"""The view on terminals of several sizes, in a pipe, and where there is ASCII alone."""

import io
import os
import re
from pathlib import Path

import pytest
from fabricate import fabricate, make_study
from folders import BEGAN, begin, fail, hold, line
from rich.console import Console

from attnres_eval.watch.look import Watched
from attnres_eval.watch.view import View
from attnres_eval.watch.words import duration, short

NOW = BEGAN + 500.0
LABELS = ["prenorm", "full_attnres", "block_attnres", *(f"label_{i:02}" for i in range(24))]
STUDY = make_study(LABELS, n_sizes=3, seeds=(0, 1), tasks=())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trains with the baseline's beside it, ten that have failed, one that waits."""
    missing = [run.run for run in STUDY.runs() if run.label == "label_23" and run.size == "d64"]
    results = fabricate(tmp_path_factory.mktemp("view"), study=STUDY, missing=missing)
    run = STUDY.run("full_attnres", "d32", 0)
    lines = [line(run, 20 * i, 5 - i / 10, 20.0 * i) for i in range(1, 8)]
    baseline = STUDY.run("prenorm", "d32", 0)
    beside = [line(baseline, 20 * i, 4.5 - i / 10, 20.0 * i) for i in range(1, 8)]
    # Stopped before this study's process began.
    os.utime(begin(results, baseline, beside).metrics, (BEGAN - 1, BEGAN - 1))
    hold(begin(results, run, lines).path, NOW)
    hold(results, NOW)
    for i in range(10):
        fail(begin(results, STUDY.run(f"label_{i:02}", "d48", 1), []), f"diverged {i} " + "x" * 99)
    return results


def drawn(results: Path, width: int, height: int | None, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, height=height, highlight=False)
    console.print(View(Watched(results).look(NOW), height))
    file.flush()
    file.seek(0)
    return file.read().splitlines()


def test_everything_is_there_in_a_pipe(results: Path) -> None:
    text = "\n".join(drawn(results, 80, None))
    assert "full_attnres-d32-s0" in text
    assert "loss 4.300" in text
    assert "prenorm 3.800" in text
    assert all(f"diverged {i}" in text for i in range(10))
    assert all(re.search(rf"^{label} ", text, re.M) for label in LABELS)
    assert "1 running, 10 failed, 1 stopped, 2 waiting" in text


@pytest.mark.parametrize(("width", "height"), [(80, 23), (60, 15), (200, 60), (40, 8), (20, 4)])
def test_it_fits(results: Path, width: int, height: int) -> None:
    lines = drawn(results, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_what_matters_is_in_80_by_24(results: Path) -> None:
    text = "\n".join(drawn(results, 80, 23))
    assert "% of" in text
    assert "time left to train:" in text
    assert "full_attnres-d32-s0" in text
    assert "loss 4.300" in text
    assert "prenorm 3.800" in text
    assert "diverged 0" in text
    assert "and 7 more failed" in text
    # Of the labels those with a run at work come first.
    assert re.search(r"^full_attnres ", text, re.M)
    assert "labels more" in text


def test_ascii(results: Path) -> None:
    text = "\n".join(drawn(results, 80, 23, "ascii"))
    assert text.isascii()
    assert "> full_attnres-d32-s0" in text


def test_words() -> None:
    assert [duration(x) for x in (0, 59, 60, 3599, 3660, 200_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h 00 min",
        "1 h 01 min",
        "2 d 7 h",
    ]
    assert [short(x) for x in (0, 700, 51_800, 1_433_600)] == ["0", "700", "51.8k", "1.43M"]
