"""A table as text: for a terminal, for another program, or for a paper."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attnres_eval.analysis.tables import WRITERS, displayed, is_numeric
from attnres_eval.errors import UserError

FORMATS = ("table", *WRITERS)
PIPE_WIDTH = 240
"""Columns of a terminal table that does not go to a terminal."""

Rows = pd.DataFrame | Sequence[Mapping[str, Any]]


def format_table(rows: Rows, fmt: str = "table") -> str:
    """Writes a table as text, without a newline at its end.

    `csv` and `json` keep every digit, and a missing value stays empty or null; the others round
    to four digits.

    Args:
        rows: a frame, or one mapping a row; the columns are the keys in order of appearance.
        fmt: one of `FORMATS`.

    Raises:
        UserError: there is no such format.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if fmt == "table":
        return _terminal(frame)
    if fmt not in WRITERS:
        raise UserError(f"unknown format {fmt!r}; give one of {', '.join(FORMATS)}")
    return WRITERS[fmt][1](frame).rstrip("\n")


def _terminal(frame: pd.DataFrame) -> str:
    text = io.StringIO()
    # Rich takes the terminal's width where there is one; a pipe gets what the table needs.
    console = Console(file=text, width=None if Console().is_terminal else PIPE_WIDTH)
    table = Table()
    shown = displayed(frame)
    for heading, column in zip(shown.columns, frame.columns, strict=True):
        right = is_numeric(frame[column])
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for cells in shown.itertuples(index=False):
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    return text.getvalue().rstrip("\n")
