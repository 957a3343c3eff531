import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attnres_eval.analysis.tables import (
    MISSING,
    display,
    rounded,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    write_table,
)

FRAME = pd.DataFrame(
    {
        "variant": ["prenorm", "a|b_100%"],
        "multiplier": [1 / 3, math.nan],
        "n_seeds": [2, 12345678],
        "limit": pd.array([50, None], dtype="Int64"),
        "differs": [True, None],
    }
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.2536, "1.254"),
        (0.05704, "0.05704"),
        (-0.0123456, "-0.01235"),
        (999.96, "1000"),
        (99.996, "100.0"),
        (12345.6, "12346"),
        (3.4e15, "3.400e+15"),
        (1.2e-7, "1.200e-07"),
        (0.0, "0"),
        (7, "7"),
        (np.int64(7), "7"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (math.nan, MISSING),
        (None, MISSING),
        (pd.NA, MISSING),
        ("text", "text"),
    ],
)
def test_display(value: object, text: str) -> None:
    assert display(value) == text


def test_csv_keeps_every_digit_and_its_gaps() -> None:
    text = to_csv(FRAME)
    assert text.splitlines()[0] == "variant,multiplier,n_seeds,limit,differs"
    back = pd.read_csv(io.StringIO(text))
    assert back["multiplier"][0] == 1 / 3
    assert math.isnan(back["multiplier"][1])
    assert text.splitlines()[2] == "a|b_100%,,12345678,,"


def test_json_has_null_for_a_gap() -> None:
    rows = json.loads(to_json(FRAME))
    assert rows[0] == {
        "variant": "prenorm",
        "multiplier": 1 / 3,
        "n_seeds": 2,
        "limit": 50,
        "differs": True,
    }
    assert rows[1]["multiplier"] is rows[1]["limit"] is rows[1]["differs"] is None


def test_markdown_escapes_and_rounds() -> None:
    lines = to_markdown(FRAME).splitlines()
    assert lines[0].split("|")[1].strip() == "variant"
    assert "n seeds" in lines[0]
    assert "0.3333" in lines[2]
    assert "a\\|b_100%" in lines[3]
    assert MISSING in lines[3]


def test_latex_escapes() -> None:
    latex = to_latex(FRAME)
    assert r"a|b\_100\%" in latex
    assert r"\begin{tabular}{lrrrl}" in latex
    assert MISSING not in latex


def test_an_empty_table_is_a_heading() -> None:
    empty = FRAME.iloc[:0]
    assert to_csv(empty) == "variant,multiplier,n_seeds,limit,differs\n"
    assert json.loads(to_json(empty)) == []
    assert "n seeds" in to_markdown(empty)


def test_writes_the_same_bytes_every_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_table(FRAME, tmp_path / folder, "t")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["t.csv", "t.json", "t.md", "t.tex"]
    for name in names:
        first, second = (tmp_path / folder / name for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_rounding_keeps_seven_digits_and_whole_numbers() -> None:
    frame = pd.DataFrame(
        {
            "real": [1 / 3, 123456789.25, -1.23456789e-9, math.nan, 1e13 + 3, math.inf],
            "whole": [1, 2, 3, 4, 5, 123456789123],
            "mixed": ["text", 2 / 3, None, True, 7, math.nan],
            "known": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
        }
    )
    before = frame.copy()
    found = rounded(frame)
    assert found["real"].iloc[:3].tolist() == [0.3333333, 123456800.0, -1.234568e-9]
    assert math.isnan(found["real"].iloc[3])
    assert found["real"].iloc[4:].tolist() == [1e13 + 3, math.inf]
    assert found["mixed"].iloc[1] == 0.6666667
    assert found["mixed"].iloc[0] == "text"
    assert found["mixed"].iloc[3] is True
    assert found["mixed"].iloc[4] == 7
    for column in ("whole", "known"):
        pd.testing.assert_series_equal(found[column], frame[column])
    pd.testing.assert_frame_equal(frame, before)


def test_rounding_hides_the_last_bits() -> None:
    values = np.random.default_rng(0).normal(3, 1, 1000)
    nudged = values * (1 + 2e-16 * np.arange(-5, 5).repeat(100))
    assert (nudged != values).any()
    one, other = (to_csv(rounded(pd.DataFrame({"x": x}))) for x in (values, nudged))
    assert one == other
