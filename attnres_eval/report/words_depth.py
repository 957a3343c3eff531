"""What inspections say, in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.depth import MLP, OUTPUT
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import interval

MOST_NAMED = 6
"""With more variants than this the sentences name the two ends alone."""


def depth_sentences(
    results: Results, depth: pd.DataFrame, growth: pd.DataFrame, mixing: pd.DataFrame
) -> list[str]:
    """What was inspected, and what stands out of it."""
    tokens = sorted({record.tokens for record in results.inspections.values()})
    sizes = listed(list(dict.fromkeys(depth["size"])))
    return [
        f"Measured after training, at size {sizes}, on the first"
        f" {listed([f'{count:,}' for count in tokens])} held-out tokens. Sublayers are numbered"
        " from 1; 0 is the embedding.",
        *growths(depth),
        *bounded(growth, label_title(results.study.baseline)),
        *costs(depth),
        *readings(mixing),
        "These are descriptions of the networks: a variant that differs here need not be better"
        " or worse for it.",
    ]


def growths(depth: pd.DataFrame) -> list[str]:
    """How output and gradient grow from the first MLP to the last, by variant."""
    sublayers = depth[depth["kind"] == MLP]
    sentences = []
    for measure, name in (("output_rms", "output"), ("gradient_rms", "gradient")):
        ends = sublayers.groupby("variant", sort=False)[measure].agg(["first", "last"])
        ratios = (ends["last"] / ends["first"].where(ends["first"] > 0)).dropna()
        if len(ratios):
            values = _by_variant(ratios, "{:.3g}")
            sentences.append(f"RMS of the {name} of the last MLP over that of the first: {values}.")
    return sentences


def bounded(growth: pd.DataFrame, baseline: str) -> list[str]:
    """Whose outputs grow less with depth than the baseline's, by intervals over seeds."""
    outputs = growth[growth["measure"] == "output_rms"]
    judged = outputs[outputs["relative_low"].notna()].sort_values("relative", kind="stable")
    if judged.empty:
        return []
    less = judged[judged["relative_high"] < 1]
    named = [
        f"{label_title(str(row['variant']))} {row['relative']:.2f} times"
        f" ({interval(row, 2, 'relative_low', 'relative_high')})"
        for _, row in less.iterrows()
    ]
    text = (
        f"Output grows less with depth than {baseline}'s, 95% interval below 1, in {len(less)} of"
        f" {counted(len(judged), 'variant')}"
    )
    return [text + (f": {listed(named)}." if 0 < len(named) <= MOST_NAMED else ".")]


def costs(depth: pd.DataFrame) -> list[str]:
    """Which sublayer costs most to skip, by variant."""
    skipped = depth.dropna(subset=["skip_loss_change"])
    if skipped.empty:
        return []
    worst = skipped.loc[skipped.groupby("variant", sort=False)["skip_loss_change"].idxmax()]
    many = len(worst) > MOST_NAMED
    if many:
        worst = worst.sort_values("skip_loss_change").iloc[[0, -1]]
    parts = [
        f"{label_title(row['variant'])} {row['skip_loss_change']:+.3f} nats per token (sublayer"
        f" {row['sublayer']}, {_kind(row['kind'])})"
        for _, row in worst.iterrows()
    ]
    named = f"from {parts[0]} to {parts[1]}" if many else listed(parts)
    return [f"Skipping the costliest sublayer changes the loss by: {named}."]


def readings(mixing: pd.DataFrame) -> list[str]:
    """How much of the embedding is in what the final norm sees."""
    last = mixing[(mixing["reader_kind"] == OUTPUT) & (mixing["source"] == 0)]
    weights = last.set_index("variant")["weight"].dropna()
    if weights.empty:
        return []
    return [f"The weight of the embedding in the output: {_by_variant(weights, '{:.3f}')}."]


def _by_variant(values: pd.Series, form: str) -> str:
    """`A 1.2, B 3.4 and C 5.6`; of many, the two ends."""
    if len(values) <= MOST_NAMED:
        named = [f"{label_title(str(x))} {form.format(v)}" for x, v in values.items()]
        return listed(named)
    ordered = values.sort_values()
    (low, smallest), (high, largest) = ((str(x), ordered[x]) for x in ordered.index[[0, -1]])
    return (
        f"from {form.format(smallest)} ({label_title(low)}) to {form.format(largest)}"
        f" ({label_title(high)}), of {counted(len(values), 'variant')}"
    )


def _kind(kind: str) -> str:
    return "MLP" if kind == MLP else kind
