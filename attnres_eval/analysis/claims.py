"""What the paper says of AttnRes beside what a study found, each with a verdict by one rule.

The claims are those of arXiv:2603.15031: a compute multiplier of 1.25 (figure 4), the largest gains
on multi-step reasoning (table 3), output magnitudes that stay bounded over depth (figure 5), and a
preference for depth at one budget (figure 7). A finding without an interval has no verdict.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.multiplier import BOTH_OWN, SHARED
from attnres_eval.labels import split_label
from attnres_eval.reference.paper import PRINTED_MULTIPLIER

PUBLISHED_VARIANT = "block_attnres"
"""The variant whose multiplier is published."""
CLAIMED = (PUBLISHED_VARIANT, "full_attnres")
"""The variants of which the paper says the other things."""

BASELINE = "prenorm"
"""What the paper compares with."""

REPRODUCED = "reproduced"
ANOTHER = "a saving of another size"
CANNOT_BE_TOLD = f"cannot be told from 1 or from {PRINTED_MULTIPLIER:g} at this scale"
NOT_REPRODUCED = "not reproduced at this scale"
UNSEEN = "cannot be seen at this scale"
NO_GAIN = "no gain, though less of a loss than on the others"

MEASURES = {
    SHARED: "compute multiplier over the baseline",
    BOTH_OWN: "compute multiplier over the baseline at a rate of its own",
}
"""Of the multiplier, by model."""

COLUMNS = ["claim", "variant", "size", "measure", "estimate", "ci_low", "ci_high", "verdict"]


@dataclass(frozen=True)
class Claim:
    """A published claim that holds where an interval lies on one side of a number."""

    claim: str
    measure: str
    value: str
    """The column of the estimate."""
    low: str
    high: str
    border: float
    above: bool
    """Whether it holds above the border, or below it."""
    gain: str = ""
    """A column that has to be above 0 too, for a claim about gains."""


REASONING = Claim(
    "multi-step reasoning gains most",
    "accuracy gained on tasks with a number of steps, minus that on others",
    *("difference", "ci_low", "ci_high"),
    border=0.0,
    above=True,
    gain="reasoning_gain",
)
BOUNDED = Claim(
    "output magnitudes stay bounded",
    "RMS of the last MLP's output over the first's, over the baseline's",
    *("relative", "relative_low", "relative_high"),
    border=1.0,
    above=False,
)
DEEPER = Claim(
    "deeper models are preferred",
    "nats per token minus the baseline's, change with a doubling of depth at equal FLOPs",
    *("slope", "ci_low", "ci_high"),
    border=0.0,
    above=False,
)
DEEPER_OVER_OWN = replace(
    DEEPER,
    measure="nats per token minus the baseline's at rates of its own, change with a doubling of"
    " depth at equal FLOPs",
)


def multiplier_verdict(low: float, high: float) -> str:
    """What an interval says of the published multiplier, by the rule of docs/protocol.md."""
    if low > 1:
        return REPRODUCED if low <= PRINTED_MULTIPLIER <= high else ANOTHER
    if high >= PRINTED_MULTIPLIER:
        return CANNOT_BE_TOLD
    return NOT_REPRODUCED + (", a loss" if high < 1 else "")


def verdict(claim: Claim, low: float, high: float) -> str:
    """Reproduced where the interval lies on the claimed side of the border, not reproduced where it
    lies on the other, and unseen where it holds the border.
    """
    if low <= claim.border <= high:
        return UNSEEN
    return REPRODUCED if (low > claim.border) == claim.above else NOT_REPRODUCED


def claims_table(
    results: Results,
    multipliers: pd.DataFrame,
    gains: pd.DataFrame,
    growth: pd.DataFrame,
    slopes: pd.DataFrame,
) -> pd.DataFrame:
    """One row a claim and label of AttnRes with an interval; none over another baseline.

    Of labels at several learning rates those at the recipe's rate and at rates of their own are
    taken: more would be more chances.

    Args:
        results: of which study, for its labels and the order of its sizes.
        multipliers: `attnres_eval.analysis.frames.multipliers_table`.
        gains: `attnres_eval.analysis.gains.gains_table`; the last of the sizes is taken.
        growth: `attnres_eval.analysis.growth.growth_table`; likewise.
        slopes: `attnres_eval.analysis.shapes.shape_slopes_table`.
    """
    study = results.study
    if study.label(study.baseline).variant != BASELINE:
        return pd.DataFrame(columns=COLUMNS)
    variants = {label: study.label(label).variant for label in study.variants}
    judged = [label for label in variants if split_label(label)[1] == 1]
    claimed = [label for label in judged if variants[label] in CLAIMED]
    published = [label for label in judged if variants[label] == PUBLISHED_VARIANT]

    def of(labels: list[str], table: pd.DataFrame) -> pd.DataFrame:
        return table[table["variant"].isin(labels)]

    outputs = growth[growth["measure"] == "output_rms"]
    sizes = list(study.sizes)
    deeper = of(claimed, slopes)
    usual = deeper["over"] == study.baseline
    rows = [
        *_multipliers(of(published, multipliers)),
        *_judged(REASONING, of(claimed, _of_last(sizes, gains))),
        *_judged(BOUNDED, of(claimed, _of_last(sizes, outputs))),
        *_judged(DEEPER, deeper[usual]),
        *_judged(DEEPER_OVER_OWN, deeper[~usual]),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _multipliers(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    for _, row in rows.dropna(subset=["multiplier", "ci_low", "ci_high"]).iterrows():
        if row["model"] not in MEASURES:
            continue
        yield {
            "claim": f"{PRINTED_MULTIPLIER:g} times the compute is saved",
            "variant": row["variant"],
            "measure": MEASURES[row["model"]],
            "estimate": row["multiplier"],
            "ci_low": row["ci_low"],
            "ci_high": row["ci_high"],
            "verdict": multiplier_verdict(row["ci_low"], row["ci_high"]),
        }


def _judged(claim: Claim, rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    for _, row in rows.dropna(subset=[claim.value, claim.low, claim.high]).iterrows():
        said = verdict(claim, row[claim.low], row[claim.high])
        if said == REPRODUCED and claim.gain and not row[claim.gain] > 0:
            said = NO_GAIN
        yield {
            "claim": claim.claim,
            "variant": row["variant"],
            "size": row.get("size"),
            "measure": claim.measure,
            "estimate": row[claim.value],
            "ci_low": row[claim.low],
            "ci_high": row[claim.high],
            "verdict": said,
        }


def _of_last(sizes: list[str], table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last of the sizes that a table has."""
    known = [size for size in sizes if size in set(table["size"])]
    return table[table["size"] == known[-1]] if known else table
