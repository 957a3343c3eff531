"""What stands behind `attnres-eval report`: one folder's page, or one over several."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attnres_eval.errors import UserError
from attnres_eval.report.build import build_report
from attnres_eval.report.compare import compare_studies
from attnres_eval.sweep.storage import results_folder


def report_on(results: Sequence[str], out: Path | None) -> str:
    """Where the page is.

    Args:
        results: folders, or their URLs.
        out: where the page over several goes; that over one lies in its folder.

    Raises:
        UserError: as `build_report` and `compare_studies`, or `out` is missing or too much.
    """
    if len(results) > 1:
        if out is None:
            raise UserError("report: give the page over several studies a folder by --out")
        with ExitStack() as stack:
            folders = [stack.enter_context(results_folder(where))[0] for where in results]
            return str(compare_studies(list(zip(results, folders, strict=True)), out))
    if out is not None:
        raise UserError("report: --out is for several studies; one has its page in its folder")
    with results_folder(results[0]) as (folder, mirror):
        page = build_report(folder)
    return str(page) if mirror is None else f"{mirror.url}/{page.name}"
