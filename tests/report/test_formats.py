import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnres_eval.errors import UserError
from attnres_eval.report.formats import FORMATS, format_table

ROWS: list[dict[str, Any]] = [
    {"variant": "a_b|c[red]", "loss": 1.23456789, "seeds": 2},
    {"variant": "plain", "loss": None, "seeds": 1},
]


def test_csv_keeps_digits_and_leaves_missing_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(format_table(ROWS, "csv"))))
    assert float(rows[0]["loss"]) == 1.23456789
    assert rows[1]["loss"] == ""


def test_json_keeps_digits_and_says_null() -> None:
    rows = json.loads(format_table(pd.DataFrame(ROWS).assign(k=np.int64(3)), "json"))
    assert rows[0] == {"variant": "a_b|c[red]", "loss": 1.23456789, "seeds": 2, "k": 3}
    assert rows[1]["loss"] is None


@pytest.mark.parametrize("fmt", ["table", "markdown", "latex"])
def test_reading_formats_round_and_show_a_gap(fmt: str) -> None:
    text = format_table(ROWS, fmt)
    assert "1.235" in text
    assert "1.23456" not in text
    assert ("--" if fmt == "latex" else "–") in text


def test_special_characters_do_not_break_a_table() -> None:
    assert r"a_b\|c[red]" in format_table(ROWS, "markdown")
    assert r"a\_b" in format_table(ROWS, "latex")
    assert "a_b|c[red]" in format_table(ROWS, "table")


@pytest.mark.parametrize("fmt", FORMATS)
def test_text_ends_without_a_newline(fmt: str) -> None:
    text = format_table(ROWS, fmt)
    assert text == text.rstrip("\n") != ""


def test_unknown_format() -> None:
    with pytest.raises(UserError, match=r"unknown format 'xml'.*csv"):
        format_table(ROWS, "xml")
