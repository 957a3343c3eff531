"""The bench's figures, made of its rows: they can be drawn again without measuring. Torch-free."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attnres_eval.bench.ladders import LADDERS
from attnres_eval.bench.names import LESS, MEMORY, TIME, WORTH, points_of
from attnres_eval.bench.plot_growth import draw_growth
from attnres_eval.bench.plot_worth import draw_worth
from attnres_eval.bench.rows import Row
from attnres_eval.bench.sizes import size_title
from attnres_eval.report.build import export_table
from attnres_eval.report.figures import Figure, save_figure
from attnres_eval.sweep.folder import read_study
from attnres_eval.variants import FAMILIES, VARIANTS

GROWTH_LINES = (
    (TIME, "Step (ms)"),
    (f"{TIME} {LESS}", "Less PreNorm's (ms)"),
    (MEMORY, "Peak (MiB)"),
)


def growth_figure(rows: Sequence[Row], folder: Path) -> Figure | None:
    """Step time, the residual's part of it and peak memory along every ladder that has points."""
    points = [row for row in rows if row.section == "growth" and row.at is not None]
    panels = [
        [[row for row in points if row.quantity == points_of(what, one)] for one in LADDERS]
        for what, _ in GROWTH_LINES
    ]
    if not any(points for line in panels for points in line):
        return None
    figure = Figure(
        "growth",
        "Growth of time and memory",
        f"{_where(points)}Medians; bars are interquartile ranges over rounds, for memory over"
        " processes. Along depth"
        " d_model is 64 and a step has 4 sequences of 256 tokens; along sequence length it has 4"
        " sequences of 8 blocks; along sources 8 sequences of 16 blocks. Block AttnRes has 8"
        " blocks but where their number is what grows. What lies below 0 is not drawn.",
        "Three rows of panels on logarithmic axes: step time, that less PreNorm's, and peak memory,"
        " over the number of transformer blocks, sequence length and number of sources.",
    )
    names, axes = [title for _, title in GROWTH_LINES], [one.axis for one in LADDERS]
    return save_figure(figure, lambda theme: draw_growth(panels, names, axes, theme), folder)


def _where(points: Sequence[Row]) -> str:
    """The processor of what is drawn, and when."""
    first = points[0]
    return f"{first.processor}, {first.date}. " if first.processor else ""


def _of(row: Row) -> str:
    return f" of {row.processor}" if row.processor else ""


def worth_points(rows: Sequence[Row], results: Path) -> pd.DataFrame:
    """What `draw_worth` takes: labels with a step time and a difference at the largest size.

    Args:
        rows: of the bench.
        results: a study's results.

    Raises:
        UserError: this is no results folder of a study.
    """
    study = read_study(results)
    table = pd.read_csv(io.StringIO(export_table(results, "differences", "csv")))
    table = table[table["size"] == study.largest_size].dropna(subset=["difference"])
    times = {row.variant: row.value for row in rows if row.quantity == WORTH}
    table = table[table["variant"].isin(list(times))].copy()
    table["step_time"] = table["variant"].map(times)
    table["family"] = [VARIANTS[study.label(name).variant].family for name in table["variant"]]
    return table.sort_values("family", key=lambda names: names.map(FAMILIES.index))


def worth_figure(rows: Sequence[Row], folder: Path) -> Figure | None:
    """Loss minus PreNorm's over step time, of a study's labels.

    None where no label was timed, or where the results that named them are gone.
    """
    timed = next((row for row in rows if row.quantity == WORTH), None)
    if timed is None or timed.note is None or not Path(timed.note).is_dir():
        return None
    assert timed.size is not None
    results = Path(timed.note)
    points = worth_points(rows, results)
    if points.empty:
        return None
    study = read_study(results)
    figure = Figure(
        "worth",
        "Which variant is worth its price",
        f"Losses of {results} at {study.largest_size}, mean over seeds with 95% intervals (one"
        " noise pooled over all variants; an open marker has none), at one learning rate. Times"
        f" are this bench's, at {size_title(timed.size)}, on one thread{_of(timed)} in"
        f" {timed.precision}."
        " Left and low is better; the crossing lines are PreNorm. A triangle at the edge stands"
        " for the number beside it.",
        f"{len(points)} variants in panels by family: the loss less PreNorm's over the time of a"
        " step over PreNorm's.",
    )
    where = f"{timed.size}, {timed.precision}"
    labels = list(study.variants)
    return save_figure(figure, lambda theme: draw_worth(points, labels, where, theme), folder)
