"""What stands behind `attnres-eval export`: a table as text, or figures as files."""

from dataclasses import dataclass
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.report.build import export_table
from attnres_eval.report.export_figures import export_figures
from attnres_eval.report.output import Format, Look
from attnres_eval.sweep.storage import is_url, results_folder


@dataclass(frozen=True)
class Wanted:
    """The options of the command; None where one was not given."""

    table: str | None = None
    figures: Format | None = None
    style: Look | None = None
    out: Path | None = None
    format: str | None = None


def export_results(results: str, wanted: Wanted) -> str:
    """What there is to print: the table, or the names of the files.

    Args:
        results: a folder, or its URL.
        wanted: what of it.

    Raises:
        UserError: the options do not go together, or as `export_table` and `export_figures`.
    """
    if (wanted.table is None) == (wanted.figures is None):
        raise UserError("export: give either --table NAME or --figures pdf, svg or png")
    if wanted.table is not None:
        if wanted.style is not None or wanted.out is not None:
            raise UserError("export: --style and --out are of --figures; a --table is printed")
        with results_folder(results) as (folder, _):
            return export_table(folder, wanted.table, wanted.format or "table")
    assert wanted.figures is not None
    if wanted.format is not None:
        raise UserError("export: --format is of --table; --figures names the files' format")
    look = wanted.style or "paper"
    if wanted.out is None and is_url(results):
        raise UserError(f"export: give the figures of {results} a folder by --out")
    out = wanted.out or Path(results) / "figures" / look
    with results_folder(results) as (folder, _):
        files = export_figures(folder, wanted.figures, look, out)
    return "\n".join(str(file) for file in files)
