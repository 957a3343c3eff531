"""What the calibration and the multipliers at equal time say, in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.records import Machine
from attnres_eval.report.select import has_interval, of_model
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import MOST_NAMED, interval, multiplicity, verdict

NOT_CALIBRATED = (
    "Times were not calibrated, so nothing is said here about equal time; the command “attnres-eval"
    " calibrate” measures them."
)

UNSTEADY = 0.2
"""A baseline's step that varies by more than this share was not timed on an idle machine."""


def machine_sentence(results: Results) -> str:
    """For which machine times hold; empty where they were not calibrated."""
    if results.calibration is None:
        return ""
    machines = [pair.machine for pair in results.calibration.pairs]
    ways = listed(list(dict.fromkeys(_how(machine) for machine in machines)))
    return (
        f"Times hold for {machines[0].processor} ({machines[0].device}; {ways}) and for this"
        " implementation, not for other machines."
    )


def _how(machine: Machine) -> str:
    tiles = " with matrix tiles" if machine.tiles else ""
    kernels = f"compiled kernels{tiles}" if machine.kernels else "plain torch"
    return (
        f"{counted(machine.threads, 'thread')}, {machine.precision},"
        f" {'torch.compile' if machine.compiled else kernels}, torch {machine.torch}"
    )


def calibration_sentences(results: Results, step_times: pd.DataFrame) -> list[str]:
    """How times were measured, for which machine they hold, and how good they are."""
    if step_times.empty:
        return [NOT_CALIBRATED]
    base = label_title(results.study.baseline)
    own = step_times[step_times["variant"] == results.study.baseline]
    spread = step_times["baseline_spread"]
    return [
        "Time in the place of FLOPs: a run's tokens times the seconds per token of its variant and"
        " size. These were measured apart from training, each variant's training steps in turn"
        f" with {base}'s in one process, {_span(step_times['rounds'], '.0f')} turns of each at a"
        " size, with nothing else of the study running. "
        + machine_sentence(results)
        + _trained(results),
        f"Two copies of {base} timed against each other: {_span(own['relative_step_time'], '.3f')}"
        f" (1 without error). {base}'s own step varied by {_span(spread, '.0%')} (interquartile"
        " range over median) while it was timed"
        + (
            ": something else ran on the machine, and times are worth measuring again."
            if spread.max() > UNSTEADY
            else "."
        ),
        *step_sentence(results, step_times),
    ]


def _trained(results: Results) -> str:
    """Where runs were trained elsewhere; empty where all were trained here."""
    assert results.calibration is not None
    here = results.calibration.pairs[0].machine.processor
    others = sorted({m.processor for m in results.machines.values()} - {here})
    if not others:
        return ""
    return f" Runs were trained on {listed(others)} too; their losses are put at these times."


def step_sentence(results: Results, step_times: pd.DataFrame) -> list[str]:
    """What a step takes over the baseline's; of many variants the fastest and the slowest."""
    rows = step_times[step_times["variant"] != results.study.baseline]
    labels = list(dict.fromkeys(rows["variant"]))
    if not labels:
        return []
    ratios = {label: rows.loc[rows["variant"] == label, "relative_step_time"] for label in labels}
    text = "A training step takes, over"
    if len(labels) > MOST_NAMED:
        labels = sorted(labels, key=lambda label: float(ratios[label].mean()))
        text = f"Of {len(labels)} variants the fastest and the slowest step take, over"
        labels = [labels[0], labels[-1]]
    parts = [f"{label_title(label)} {_span(ratios[label], '.2f')}" for label in labels]
    return [f"{text} {label_title(results.study.baseline)}'s: {listed(parts)}."]


def multiplier_sentences(results: Results, time_multipliers: pd.DataFrame) -> list[str]:
    """One sentence a variant that has a multiplier at equal time, with interval and verdict."""
    known = of_model(time_multipliers).dropna(subset=["multiplier"])
    base = label_title(results.study.baseline)
    sentences = []
    for _, row in known.iterrows():
        name = label_title(row["variant"])
        text = f"{name} against {base} at equal time: {row['multiplier']:.3f}"
        if not has_interval(row):
            sentences.append(f"{text}, without an interval ({row['note']}).")
            continue
        side = "contains" if row["ci_low"] <= 1 <= row["ci_high"] else "excludes"
        note = f" Note: {row['note']}." if row["note"] else ""
        sentences.append(
            f"{text}, 95% interval {interval(row, 3)}; it {side} 1, so {name}"
            f" {verdict(row, 'time')} here.{note}"
        )
    judged = known[[has_interval(row) for _, row in known.iterrows()]]
    if len(judged):
        error = judged["calibration_error"].max()
        sentences.append(
            "These intervals are over seeds, as those at equal FLOPs, with the calibration's own"
            f" error added: it alone moves a multiplier by at most {error:.1%}."
        )
    return sentences + multiplicity(time_multipliers)


def _span(values: pd.Series, spec: str) -> str:
    """`1.02`, or `1.02 to 1.31` where values differ as written."""
    low, high = format(values.min(), spec), format(values.max(), spec)
    return low if low == high else f"{low} to {high}"
