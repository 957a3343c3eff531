"""A table as text: for a terminal, for another program, or for a paper."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attnres_eval.errors import UserError

Format = Literal["table", "csv", "json", "markdown", "latex"]
FORMATS: tuple[str, ...] = get_args(Format)

Rows = pd.DataFrame | Sequence[Mapping[str, Any]]


def format_table(rows: Rows, fmt: str = "table") -> str:
    """Writes a table as text, without a newline at its end.

    `csv` and `json` keep every digit and a missing value stays empty or null; the others round to
    what a reader needs.

    Args:
        rows: a frame, or one mapping a row; the columns are the keys in order of appearance.
        fmt: one of `FORMATS`.

    Raises:
        UserError: there is no such format.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if fmt == "csv":
        return str(frame.to_csv(index=False, lineterminator="\n")).rstrip("\n")
    if fmt == "json":
        return json.dumps(_records(frame), indent=2, allow_nan=False)
    if fmt == "markdown":
        return _markdown(frame)
    if fmt == "latex":
        return _latex(frame)
    if fmt == "table":
        return _terminal(frame)
    raise UserError(f"unknown format {fmt!r}; give one of {', '.join(FORMATS)}")


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN or NaT, but not an empty list."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def show(value: object) -> str:
    """One cell as a reader wants it: four significant digits, thousands apart, gaps as a dash."""
    if is_missing(value):
        return "–"
    if isinstance(value, str):
        return value
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.api.types.is_integer(value):
        return f"{value:,}"
    if pd.api.types.is_float(value):
        assert isinstance(value, float)
        if value and not 1e-3 <= abs(value) < 1e7:
            return f"{value:.3e}"
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value)
    return str(value)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): None if is_missing(value) else _plain(value) for key, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]


def _plain(value: Any) -> Any:
    # numpy's scalars are no JSON; their .item() is.
    return value.item() if hasattr(value, "item") else value


def _cells(frame: pd.DataFrame) -> list[list[str]]:
    return [[show(value) for value in row.values()] for row in frame.to_dict(orient="records")]


def _numeric(frame: pd.DataFrame) -> list[bool]:
    return [
        pd.api.types.is_numeric_dtype(frame[column])
        and not pd.api.types.is_bool_dtype(frame[column])
        for column in frame.columns
    ]


def _markdown(frame: pd.DataFrame) -> str:
    def line(cells: Sequence[str]) -> str:
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        return "| " + " | ".join(escaped) + " |"

    rules = ["---:" if numeric else "---" for numeric in _numeric(frame)]
    rows = [line(cells) for cells in _cells(frame)]
    return "\n".join([line([str(column) for column in frame.columns]), line(rules), *rows])


LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
    }
)


def _latex(frame: pd.DataFrame) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(LATEX) for cell in cells) + r" \\"

    columns = "".join("r" if numeric else "l" for numeric in _numeric(frame))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line([str(column) for column in frame.columns]),
            r"\midrule",
            *(line(cells) for cells in _cells(frame)),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _terminal(frame: pd.DataFrame) -> str:
    text = io.StringIO()
    # Rich takes the terminal's width where there is one; a pipe gets what the table needs.
    console = Console(file=text, width=None if Console().is_terminal else 240)
    table = Table()
    for column, numeric in zip(frame.columns, _numeric(frame), strict=True):
        table.add_column(str(column), justify="right" if numeric else "left", overflow="fold")
    for cells in _cells(frame):
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    return text.getvalue().rstrip("\n")
