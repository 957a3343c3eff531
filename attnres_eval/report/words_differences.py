"""What the differences to the baseline say, in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import MOST_NAMED, by_luck, interval
from attnres_eval.report.words_variants import at_rates


def difference_sentences(results: Results, differences: pd.DataFrame) -> list[str]:
    """What the pooled intervals of each size say about zero, and what they assume."""
    base = label_title(results.study.baseline)
    sizes = [size for size in results.study.sizes if size in set(differences["size"])]
    found = [_at_size(differences[differences["size"] == size], size, base) for size in sizes]
    if not any(found):
        return []
    return [
        f"Losses minus {base}'s, seed by seed. One run's own noise is taken to be the same for"
        " all variants of a size and is estimated from all of them together, so that few seeds"
        " suffice (the table of losses has intervals from each variant's own seeds alone). The"
        " second interval is wide enough (Bonferroni) to hold for all variants of a size at once.",
        *[sentence for sentence in found if sentence],
        *_notes(differences),
        "A difference at one learning rate is not a difference at each variant's own best rate.",
    ]


def _at_size(rows: pd.DataFrame, size: str, base: str) -> str:
    judged = rows[[has_interval(row) for _, row in rows.iterrows()]]
    if judged.empty:
        known = rows.dropna(subset=["difference"])
        if known.empty:
            return ""
        return f"Size {size}: the runs bear no interval, so no difference from {base} is found."
    # A variant that stands apart has fewer degrees of freedom, of its own.
    first = judged.sort_values("df", ascending=False, kind="stable").iloc[0]
    text = (
        f"Size {size} (one run's noise {first['pooled_sd']:.2g} nats per token, estimated with"
        f" {counted(int(first['df']), 'degree')} of freedom):"
    )
    if len(judged) == 1:
        side = "contains" if first["ci_low"] <= 0 <= first["ci_high"] else "excludes"
        return (
            f"{text} {label_title(first['variant'])} {first['difference']:+.3f}"
            f" ({interval(first, 3)}); the interval {side} 0."
        )
    text += (
        f" {int((judged['ci_high'] < 0).sum())} of {len(judged)} variants"
        f"{at_rates(list(judged['variant']))} lie below {base} and"
        f" {int((judged['ci_low'] > 0).sum())} above, each by its own 95% interval;"
        f" {by_luck(len(judged))}. By the interval that holds for all at once,"
    )
    named = [
        _named(judged[judged["ci_high_all"] < 0].sort_values("difference"), "below"),
        _named(judged[judged["ci_low_all"] > 0].sort_values("difference"), "above"),
    ]
    return f"{text} {listed([part for part in named if part]) or 'none differs'}."


def _named(rows: pd.DataFrame, side: str) -> str:
    if rows.empty:
        return ""
    if len(rows) > MOST_NAMED:
        return f"{len(rows)} lie {side}"
    parts = [
        f"{label_title(row['variant'])} ({row['difference']:+.3f},"
        f" {interval(row, 3, 'ci_low_all', 'ci_high_all')})"
        for _, row in rows.iterrows()
    ]
    return f"{listed(parts)} {'lies' if len(rows) == 1 else 'lie'} {side}"


def _notes(differences: pd.DataFrame) -> list[str]:
    """Variants that break the assumption of one noise for all, and are not in the pool."""
    noisy = differences[differences["note"].str.startswith("its seeds")]
    return [
        f"{label_title(row['variant'])} at size {row['size']}: {row['note']}, and it is not among"
        " those from which the noise of one run is estimated."
        for _, row in noisy.iterrows()
    ]


def difference_headline(results: Results, differences: pd.DataFrame) -> str:
    """The report's first sentence where no multiplier can be stated; empty without an interval.

    It speaks of the largest size by the intervals that hold for all variants at once.
    """
    rows = at_largest_size(results, differences)
    judged = rows[[has_interval(row) for _, row in rows.iterrows()]]
    if judged.empty:
        return ""
    base = label_title(results.study.baseline)
    size = judged["size"].iloc[0]
    lower = int((judged["ci_high_all"] < 0).sum())
    higher = int((judged["ci_low_all"] > 0).sum())
    best = judged.sort_values("difference").iloc[0]
    return (
        f"At size {size}, {lower} of {counted(len(judged), 'variant')}"
        f"{at_rates(list(judged['variant']))} reach a lower loss than"
        f" {base} and {higher} a higher one, by intervals that hold for all at once; the lowest is"
        f" {label_title(best['variant'])}, {best['difference']:+.3f} nats per token"
        f" ({interval(best, 3, 'ci_low_all', 'ci_high_all')})."
    )


def at_largest_size(results: Results, differences: pd.DataFrame) -> pd.DataFrame:
    """The rows with a difference at the size of most compute that has any."""
    known = differences.dropna(subset=["difference"])
    flops = results.runs.groupby("size")["flops"].max()
    if known.empty:
        return known
    largest = max(set(known["size"]), key=flops.__getitem__)
    return known[known["size"] == largest].reset_index(drop=True)
