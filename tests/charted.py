"""Charts of fabricated results, made without drawing a static figure."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from attnres_eval.analysis.collect import Results, collect
from attnres_eval.report import figures, figures_swept
from attnres_eval.report.build import study_figures, study_tables
from attnres_eval.report.charts.chart import Chart
from attnres_eval.report.figures import Tables


@dataclass(frozen=True)
class Charted:
    """Results with their tables and charts."""

    results: Results
    tables: Tables
    charts: dict[str, Chart]


def charted(folder: Path) -> Charted:
    results = collect(folder)
    tables = study_tables(results)
    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, figures_swept):
            patch.setattr(
                module,
                "save_figure",
                lambda figure, draw, folder, chart=None: replace(figure, chart=chart and chart()),
            )
        drawn = study_figures(results, tables, folder)
    return Charted(
        results, tables, {figure.name: figure.chart for figure in drawn if figure.chart is not None}
    )
