"""The part of a study's page that compares variants at equal time."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.report.figures import Figure, Tables
from attnres_eval.report.page import Section, Table, read_table
from attnres_eval.report.words_time import calibration_sentences, multiplier_sentences


def time_section(results: Results, tables: Tables, figures: list[Figure]) -> Section:
    """Multipliers over seconds, and step times; one line where times were not calibrated."""
    times, multipliers = tables["step_times"], tables["time_multipliers"]
    shown = [_multipliers(multipliers)] if multipliers["multiplier"].notna().any() else []
    return Section(
        "At equal time",
        [*multiplier_sentences(results, multipliers), *calibration_sentences(results, times)],
        figures,
        [*shown, _step_times(times)] if len(times) else [],
    )


def _multipliers(multipliers: pd.DataFrame) -> Table:
    return read_table(
        multipliers,
        {
            "Variant": "variant",
            "Model": "model",
            "Multiplier": "multiplier",
            "95% interval": ("ci_low", "ci_high"),
            "Calibration's error": "calibration_error",
            "Seeds": "n_seeds",
            "Sizes": "n_sizes",
            "At seconds": "target_seconds",
            "Extrapolated": "extrapolated",
            "Note": "note",
        },
        "Multipliers at equal time by variant and fit model; the calibration's error is a share of"
        " the multiplier, and in the interval",
        folded=True,
    )


def _step_times(times: pd.DataFrame) -> Table:
    return read_table(
        times,
        {
            "Variant": "variant",
            "Size": "size",
            "Rounds": "rounds",
            "Seconds per token": "seconds_per_token",
            "Over the baseline's": "relative_step_time",
            "95% interval": ("ci_low", "ci_high"),
            "Precision": "precision",
            "Threads": "threads",
            "torch.compile": "compiled",
            "Kernels": "kernels",
        },
        "Calibrated training steps; the baseline's row compares two copies of it",
        folded=True,
    )
