"""What a sweep of learning rates says, in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.labels import split_label
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import MOST_NAMED, interval

AT_BASELINE, AT_BEST = "difference_at_baseline_rate", "difference_at_best"
ENDS = {
    AT_BASELINE: ("at_baseline_rate_low", "at_baseline_rate_high"),
    AT_BEST: ("at_best_low", "at_best_high"),
}


def largest_swept(results: Results, best: pd.DataFrame) -> str | None:
    """The size of most compute that has a best rate; None where there is no sweep."""
    known = set(best["size"])
    flops = results.runs.groupby("size")["flops"].max()
    return max(known, key=flops.__getitem__) if known else None


def verdict(row: pd.Series, column: str) -> str:
    """Where a difference lies by its interval: below, above, or around 0; empty without one."""
    low, high = ENDS[column]
    if not has_interval(row, low, high):
        return ""
    if row[high] < 0:
        return "below"
    return "above" if row[low] > 0 else "around"


def rates_headline(results: Results, best: pd.DataFrame) -> str:
    """The first sentence of a sweep; empty where nothing has an interval."""
    rows, base = _judged(results, best)
    if rows.empty:
        return ""
    at_rate, at_best = (_tally(rows, column) for column in (AT_BASELINE, AT_BEST))
    size = rows["size"].iloc[0]
    return (
        f"At size {size} and {base}'s best learning rate, {at_rate}; each at its own best rate,"
        f" {at_best}, of {counted(len(rows), 'variant')} by 95% intervals."
    )


def _judged(results: Results, best: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    baseline = split_label(results.study.baseline)[0]
    size = largest_swept(results, best)
    rows = best[(best["size"] == size) & (best["variant"] != baseline)]
    judged = rows[[bool(verdict(row, AT_BEST)) for _, row in rows.iterrows()]]
    return judged, label_title(baseline)


def _tally(rows: pd.DataFrame, column: str) -> str:
    found = [verdict(row, column) for _, row in rows.iterrows()]
    lower, higher = found.count("below"), found.count("above")
    return f"{lower} {'lies' if lower == 1 else 'lie'} below it and {higher} above"


def rates_sentences(results: Results, best: pd.DataFrame) -> list[str]:
    """The rule, the best rates, and where the choice of a rate changes what is found."""
    rows, base = _judged(results, best)
    if rows.empty:
        return []
    size = rows["size"].iloc[0]
    everyone = best[best["size"] == size]
    first = rows.iloc[0]
    own = everyone[everyone["variant"] == split_label(results.study.baseline)[0]].iloc[0]
    others = rows[rows["learning_rate"] != own["learning_rate"]]
    sentences = [
        "A best rate is the one of the least mean loss over all seeds; a rate at which a run has"
        f" no result is out. {base}'s is {own['learning_rate']:.3g} at size {size};"
        f" {counted(len(others), 'variant')} of {len(rows)} {'has' if len(others) == 1 else 'have'}"
        " another one.",
        f"One run's noise, taken to be the same for all at their best rates, is"
        f" {first['pooled_sd']:.2g} nats per token"
        f" ({counted(int(first['df']), 'degree')} of freedom).",
    ]
    changed = [
        row
        for _, row in rows.iterrows()
        if verdict(row, AT_BASELINE) and verdict(row, AT_BASELINE) != verdict(row, AT_BEST)
    ]
    if changed:
        sentences.append(
            f"The rate changes the finding for {counted(len(changed), 'variant')}:"
            f" {listed([_both(row) for row in changed[:MOST_NAMED]])}"
            f"{' and others' if len(changed) > MOST_NAMED else ''}."
        )
    else:
        sentences.append("The rate changes the finding for no variant.")
    if len(edges := everyone[everyone["edge"].astype(bool)]):
        sentences.append(
            f"At the edge of its grid, so that a better rate may lie beyond: "
            f"{listed([label_title(name) for name in edges['variant']])}."
        )
    return sentences


def _both(row: pd.Series) -> str:
    at_rate = interval(row, 3, *ENDS[AT_BASELINE])
    at_best = interval(row, 3, *ENDS[AT_BEST])
    return (
        f"{label_title(row['variant'])} ({row[AT_BASELINE]:+.3f}, {at_rate}, at the baseline's"
        f" rate; {row[AT_BEST]:+.3f}, {at_best}, at its own)"
    )
