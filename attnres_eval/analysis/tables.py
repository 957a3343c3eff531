"""Tables as text: CSV and JSON to seven digits, Markdown and LaTeX rounded to be read."""

import json
import math
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from attnres_eval.files import write_text

MISSING = "–"
"""How a missing value is shown. Never as a zero."""


DIGITS = 7
"""Significant digits of a table's numbers: far more than any interval bears, and few enough that
the last bits of a sum, which differ from processor to processor, almost never show."""


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with its real numbers rounded to `DIGITS` significant digits; whole ones stay."""
    changed = {
        name: frame[name].map(_rounded)
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name]) or frame[name].dtype == object
    }
    return frame.assign(**changed)


def _rounded(value: Any) -> Any:
    if not isinstance(value, float) or not math.isfinite(value) or value.is_integer():
        return value
    return float(f"{value:.{DIGITS - 1}e}")


def display(value: Any) -> str:
    """A value rounded to four significant digits, for reading."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return display_real(float(value))
    return str(value)


def display_real(value: float) -> str:
    """Four significant digits; powers of ten where the number is very large or small."""
    # Rounded first: 99.996 has three digits before the point.
    size = abs(float(f"{value:.3e}"))
    if value == 0:
        return "0"
    if not 1e-3 <= size < 1e6:
        return f"{value:.3e}"
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.{3 - math.floor(math.log10(size))}f}"


def heading(column: str) -> str:
    """A column's name in words."""
    return column.replace("_", " ")


def displayed(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as it is read: text only, headings in words."""
    shown = {heading(column): [display(v) for v in frame[column]] for column in frame.columns}
    return pd.DataFrame(shown, dtype=str)


def to_csv(frame: pd.DataFrame) -> str:
    """Every digit that the table has; a missing value is an empty field."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> str:
    """A list of objects with every digit that the table has; a missing value is null."""
    rows = [
        {column: _plain(value) for column, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
    return json.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def to_markdown(frame: pd.DataFrame) -> str:
    """A GitHub table; numbers to the right."""
    shown = displayed(frame).map(lambda text: text.replace("|", "\\|"))
    align = ["right" if is_numeric(frame[column]) else "left" for column in frame.columns]
    text: str = shown.to_markdown(
        index=False,
        # tabulate 0.9, which reasoning-gym asks for, aligns no table without rows.
        colalign=align if len(frame) else None,
        disable_numparse=True,
        tablefmt="github",
    )
    return text + "\n"


def to_latex(frame: pd.DataFrame) -> str:
    """A booktabs tabular; special characters escaped."""
    shown = displayed(frame)
    align = "".join("r" if is_numeric(frame[column]) else "l" for column in frame.columns)
    latex = shown.to_latex(index=False, escape=True, column_format=align)
    return latex.replace(MISSING, "--").replace("×", "$\\times$")


def is_numeric(column: pd.Series) -> bool:
    """Whether a column's cells are set to the right."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


WRITERS: dict[str, tuple[str, Callable[[pd.DataFrame], str]]] = {
    "csv": ("csv", to_csv),
    "json": ("json", to_json),
    "markdown": ("md", to_markdown),
    "latex": ("tex", to_latex),
}
"""By format: the file's suffix and the writer."""


def write_table(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes `<name>.csv`, `.json`, `.md` and `.tex`."""
    for suffix, writer in WRITERS.values():
        write_text(folder / f"{name}.{suffix}", writer(frame))
