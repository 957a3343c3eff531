"""The multipliers found here beside the published one."""

import pandas as pd

from attnres_eval.analysis.claims import (
    ANOTHER,
    CANNOT_BE_TOLD,
    NOT_REPRODUCED,
    PUBLISHED_VARIANT,
    REPRODUCED,
    UNSEEN,
    multiplier_verdict,
)
from attnres_eval.labels import own_base
from attnres_eval.reference.paper import PRINTED_MULTIPLIER, SOURCE, TARGET_PFLOPS_DAYS
from attnres_eval.report.select import has_interval, of_model
from attnres_eval.report.style import label_title
from attnres_eval.report.words import power_of_ten

CLAIMS = (
    f"Claims of {SOURCE} about AttnRes, and what this study says of each by its 95% interval."
    f" {PRINTED_MULTIPLIER:g} times: if the interval lies above 1, {REPRODUCED} where it holds"
    f" {PRINTED_MULTIPLIER:g} and {ANOTHER} where not; if not, it {CANNOT_BE_TOLD} where it holds"
    f" {PRINTED_MULTIPLIER:g} too, and else {NOT_REPRODUCED}. The others: {REPRODUCED} if the"
    f" interval lies on the claimed side of no effect, {NOT_REPRODUCED} if on the other side, and"
    f" {UNSEEN} if it holds no effect. In a sweep of learning rates the labels at the rate of all"
    " and at rates of their own are judged. All of it is said of models of this size alone."
)


def published_comparison(multipliers: pd.DataFrame) -> str:
    """Block AttnRes beside its published multiplier; empty where it was not run."""
    rows = of_model(multipliers).dropna(subset=["multiplier"])
    rows = rows[rows["variant"].map(own_base) == PUBLISHED_VARIANT]
    if rows.empty:
        return ""
    ratio = TARGET_PFLOPS_DAYS / rows["target_compute_pflops_days"].iloc[0]
    ratio_words = f"{float(f'{ratio:.2g}'):,.0f}" if ratio < 1e6 else power_of_ten(ratio)
    text = (
        f"Published ({SOURCE}): {PRINTED_MULTIPLIER:g} for Block AttnRes at"
        f" {TARGET_PFLOPS_DAYS:g} PFLOP/s-days, about {ratio_words} times the"
        " compute compared here."
    )
    sure = [row for _, row in rows.iterrows() if has_interval(row)]
    for row in sure:
        which = f" of {label_title(row['variant'])}" if len(sure) > 1 else ""
        said = multiplier_verdict(row["ci_low"], row["ci_high"])
        text += f" The interval{which} found here {_place(row)} it: {said}."
    return text + " Neither number speaks for the other's scale."


def _place(row: pd.Series) -> str:
    if row["ci_low"] > PRINTED_MULTIPLIER:
        return "lies above"
    return "lies below" if row["ci_high"] < PRINTED_MULTIPLIER else "contains"
