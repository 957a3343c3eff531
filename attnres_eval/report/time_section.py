"""The part of a study's page that compares variants at equal time."""

from attnres_eval.analysis.collect import Results
from attnres_eval.report.figures import Figure, Tables
from attnres_eval.report.page import Section
from attnres_eval.report.views import view
from attnres_eval.report.words_time import calibration_sentences, multiplier_sentences


def time_section(results: Results, tables: Tables, figures: list[Figure]) -> Section:
    """Multipliers over seconds, and step times; one line where times were not calibrated."""
    times, multipliers = tables["step_times"], tables["time_multipliers"]
    shown = (
        [view("time_multipliers", multipliers)] if multipliers["multiplier"].notna().any() else []
    )
    return Section(
        "At equal time",
        [*multiplier_sentences(results, multipliers), *calibration_sentences(results, times)],
        figures,
        [*shown, view("step_times", times)] if len(times) else [],
    )
