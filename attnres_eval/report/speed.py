"""How fast variants train: calibrated side by side where that was done, else as the runs went."""

import math

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.labels import own_base
from attnres_eval.report.style import label_title
from attnres_eval.report.words import MOST_NAMED
from attnres_eval.report.words_time import step_sentence


def speed_rows(results: Results, cells: pd.DataFrame, step_times: pd.DataFrame) -> pd.DataFrame:
    """Speed over the baseline's: variant, size, parameters, n_layers, relative_speed, its interval.

    A label that differs from another by its learning rate alone is left out: it trains as fast.

    Args:
        results: for the parameters and blocks of each label and size.
        cells: `attnres_eval.analysis.frames.cells_table`; its speeds are without intervals.
        step_times: `attnres_eval.analysis.step_times.step_times_table`; taken where it has rows.
    """
    if step_times.empty:
        rows = cells.dropna(subset=["relative_speed"])[["variant", "size", "relative_speed"]]
        rows = rows.assign(ci_low=math.nan, ci_high=math.nan)
    else:
        rows = step_times[["variant", "size"]].assign(
            relative_speed=1 / step_times["relative_step_time"],
            ci_low=1 / step_times["ci_high"],
            ci_high=1 / step_times["ci_low"],
        )
    there = set(rows["variant"])
    bases = rows["variant"].map(own_base)
    rows = rows[(bases == rows["variant"]) | ~bases.isin(there)]
    shapes = results.runs.groupby(["label", "size"])[["parameters", "n_layers"]].first()
    keys = pd.MultiIndex.from_frame(rows[["variant", "size"]])
    parameters, n_layers = shapes.reindex(keys).to_numpy().T
    return rows.assign(parameters=parameters, n_layers=n_layers)


def speed_caption(step_times: pd.DataFrame, baseline: str) -> str:
    """What the figure of speeds shows."""
    if step_times.empty:
        return (
            "Training tokens per second over the baseline's at the same size and seed, mean over"
            " seeds. Clock readings of this implementation on this processor."
        )
    return (
        "Training tokens per second over the baseline's at the same size, calibrated side by side,"
        f" with 95% intervals; {label_title(baseline)}'s own line compares two copies of it."
        " Readings of this implementation on this processor."
    )


def speed_findings(results: Results, cells: pd.DataFrame, step_times: pd.DataFrame) -> list[str]:
    """Speeds over the baseline's: calibrated, or at the largest size that both have."""
    if len(step_times):
        return step_sentence(results, step_times)
    study = results.study
    known = cells[cells["relative_speed"].notna() & (cells["variant"] != study.baseline)]
    rows = [
        known[known["variant"] == label].sort_values("flops").iloc[-1]
        for label in study.variants
        if label in set(known["variant"])
    ]
    sentences = []
    if len(rows) > MOST_NAMED:
        rows.sort(key=lambda row: row["relative_speed"])
        rows = [rows[0], rows[-1]]
        sentences.append(f"Of {known['variant'].nunique()} variants, the slowest and the fastest:")
    return sentences + [
        f"{label_title(row['variant'])} trained at {row['relative_speed']:.2f} of"
        f" {label_title(study.baseline)}'s tokens per second at size {row['size']}"
        f" ({row['tokens_per_second']:,.0f} tokens a second)."
        for row in rows
    ]


def speed_sentences(results: Results, cells: pd.DataFrame, step_times: pd.DataFrame) -> list[str]:
    """What the page says of training speed where times were not calibrated."""
    return [
        "The comparison is at equal FLOPs, which is not equal time. Tokens per second are clock"
        " readings of this implementation on the processor named below; other runs may have been"
        " training beside it.",
        *speed_findings(results, cells, step_times),
    ]
