"""One checkpoint's inspection as tables and figures."""

from pathlib import Path

import pandas as pd

from attnres_eval.analysis.depth import MEASURES, depth_rows, mixing_rows
from attnres_eval.analysis.tables import rounded, write_table
from attnres_eval.records import InspectionRecord, write_record
from attnres_eval.report.figures_depth import depth_figures


def sublayer_table(record: InspectionRecord) -> pd.DataFrame:
    """One row a sublayer, the embedding first: what the command prints."""
    return depth_rows("", "", [record])[["sublayer", "kind", *MEASURES]]


def write_inspected(label: str, size: str, record: InspectionRecord, out: Path) -> None:
    """Writes `inspection.json`, tables/ and figures/ of one checkpoint.

    Args:
        label: what the checkpoint is called; a variant's name is shown by its title.
        size: the size's name.
        record: its inspection.
        out: the folder, made where absent.
    """
    depth = rounded(depth_rows(label, size, [record]))
    mixing = rounded(mixing_rows(label, size, [record]))
    write_record(out / "inspection.json", record)
    write_table(depth, out / "tables", "depth")
    write_table(mixing, out / "tables", "mixing")
    depth_figures(depth, mixing, [label], out / "figures")
