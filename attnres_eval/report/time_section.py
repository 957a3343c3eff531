"""The part of a study's page that compares variants at equal time."""

from attnres_eval.analysis.collect import Results
from attnres_eval.report.figures import Figure, Tables
from attnres_eval.report.page import Section
from attnres_eval.report.views import view
from attnres_eval.report.words_time import calibration_sentences, multiplier_sentences


def time_section(results: Results, tables: Tables, figures: list[Figure]) -> list[Section]:
    """Multipliers over seconds, and step times; one line where times were not calibrated.

    Nothing where that was not planned either.
    """
    times, multipliers = tables["step_times"], tables["time_multipliers"]
    if times.empty and not results.study.evaluation.calibration_rounds:
        return []
    shown = (
        [view("time_multipliers", multipliers)] if multipliers["multiplier"].notna().any() else []
    )
    sentences = [
        *multiplier_sentences(results, multipliers),
        *calibration_sentences(results, times),
    ]
    tables_shown = [*shown, view("step_times", times)] if len(times) else []
    return [Section("At equal time", sentences, figures, tables_shown)]
