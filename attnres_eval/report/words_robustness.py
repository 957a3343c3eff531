"""What the checks of a multiplier say, in sentences."""

import pandas as pd

from attnres_eval.analysis.robustness import RESULT
from attnres_eval.reference.paper import PRINTED_MULTIPLIER
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import label_title


def robustness_sentences(table: pd.DataFrame, variant: str | None) -> list[str]:
    """Between which values the checks of one multiplier lie, and what their intervals hold."""
    own = table[(table["variant"] == variant) & table["multiplier"].notna()]
    if variant is None or len(own) < 2:
        return []
    checks = own[own["check"] != RESULT]
    ordered = checks.sort_values("multiplier", kind="stable")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    sure = checks[[has_interval(row) for _, row in checks.iterrows()]]
    two = (sure["n_seeds"] == 2).any()
    holds = [
        int(((sure["ci_low"] <= value) & (value <= sure["ci_high"])).sum())
        for value in (1.0, PRINTED_MULTIPLIER)
    ]
    return [
        f"The multiplier of {label_title(variant)} again, without each size, without each seed, and"
        f" by other models: from {low['multiplier']:.2f} ({low['check']}) to"
        f" {high['multiplier']:.2f} ({high['check']}). Of {len(sure)} intervals, {holds[0]}"
        f" {'holds' if holds[0] == 1 else 'hold'} 1 and {holds[1]} the published"
        f" {PRINTED_MULTIPLIER:g}.{' With two seeds an interval is wide.' if two else ''}"
    ]
