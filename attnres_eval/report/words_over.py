"""What losses over depth at one budget, and over an option, say in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.shapes import MIN_DEPTHS
from attnres_eval.labels import OWN, own_base
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import listed
from attnres_eval.report.words import interval
from attnres_eval.study import Study


def shapes_headline(results: Results, slopes: pd.DataFrame) -> str:
    """The first sentence of a study over shapes; empty where no slope has an interval."""
    baseline = results.study.baseline
    rows = _judged(slopes[(slopes["over"] == baseline) & (slopes["variant"] != baseline + OWN)])
    if rows.empty:
        return ""
    base = label_title(baseline)
    return (
        f"At depths that cost {base} the same FLOPs, with each doubling of depth, the difference to"
        f" {base} changes by {listed([_slope(row) for _, row in rows.iterrows()])} nats per token."
    )


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[[has_interval(row) for _, row in rows.iterrows()]]


def _slope(row: pd.Series) -> str:
    return f"{row['slope']:+.4f} ({interval(row, 4)}) for {label_title(row['variant'])}"


def shapes_sentences(results: Results, slopes: pd.DataFrame) -> list[str]:
    """Who gains with depth, and at which depth each variant's loss is least."""
    baseline = results.study.baseline
    usual = slopes[slopes["over"] == baseline]
    compared = usual[usual["n_depths"] >= MIN_DEPTHS]
    if compared.empty:
        return []
    judged = _judged(slopes)
    noise = ", its interval from the noise of all runs" if len(judged) else ""
    sentences = [
        f"All sizes cost {label_title(baseline)} the same FLOPs: the deeper, the narrower, on as"
        " many tokens as that leaves. The slope is that of the difference over log2 of the number"
        f" of blocks{noise}{_but_for(slopes, baseline)}."
    ]
    sentences += _price(results.study, list(usual["variant"]))
    for _, row in judged.iterrows():
        base = label_title(row["over"])
        if row["ci_high"] < 0:
            found = f"gains on {base} with depth"
        elif row["ci_low"] > 0:
            found = f"loses against {base} with depth"
        else:
            found = f"shows no trend against {base} with depth: the interval holds 0"
        sentences.append(
            f"{label_title(row['variant'])} {found} ({row['slope']:+.4f}, 95% interval"
            f" {interval(row, 4)})."
        )
    best = [
        f"{label_title(row['variant'])} {row['best_n_layers']}" for _, row in compared.iterrows()
    ]
    sentences.append(
        f"Blocks at which the mean loss is least: {listed(best)}. Neighbouring depths may not"
        " differ by more than their noise."
    )
    return sentences


def _price(study: Study, labels: list[str]) -> list[str]:
    """What variants cost more than the baseline at the shallowest depth and at the deepest."""
    sizes = sorted(study.sizes, key=lambda size: study.shape(size).n_layers)
    ends = (sizes[0], sizes[-1])
    bases = [study.run(study.baseline, size, study.seeds[0]).training_flops for size in ends]
    found = []
    for label in labels:
        at_another_rate = own_base(label) != label and own_base(label) in labels
        if at_another_rate or study.label(label).flops_of is not None:
            continue
        flops = [study.run(label, size, study.seeds[0]).training_flops for size in ends]
        ratios = [f"{own / base:.2f}" for own, base in zip(flops, bases, strict=True)]
        if set(ratios) != {"1.00"}:
            found.append(f"{label_title(label)} {ratios[0]} to {ratios[1]} times")
    if not found:
        return []
    return [
        "Variants of a depth see the same tokens, so that what they cost themselves comes on top:"
        f" from {study.shape(ends[0]).n_layers} to {study.shape(ends[1]).n_layers} blocks"
        f" {listed(found)} {label_title(study.baseline)}'s FLOPs."
    ]


def _but_for(slopes: pd.DataFrame, baseline: str) -> str:
    """Whose interval rests on other noise: that of a variant that stands apart."""
    common = slopes.loc[slopes["variant"] == baseline, "pooled_sd"]
    rows = _judged(slopes)
    apart = [
        label_title(row["variant"])
        + ("" if row["over"] == baseline else f" over {label_title(row['over'])}")
        for _, row in rows[~rows["pooled_sd"].isin(common)].iterrows()
    ]
    if not apart:
        return ""
    return (
        f", but for {listed(apart)}, whose seeds stand apart at a depth: from the spread of their"
        " own pairs"
    )


def option_headline(results: Results, table: pd.DataFrame) -> str:
    """The first sentence of a sweep over an option; empty where it bears no interval."""
    found = option_sentences(results, table)
    return found[0] if found else ""


def option_sentences(results: Results, table: pd.DataFrame) -> list[str]:
    """By sweep and size: where the loss is least and where it is greatest."""
    base = label_title(results.study.baseline)
    sentences = []
    for (sweep, option, size), own in table.groupby(["sweep", "option", "size"], sort=False):
        judged = own[[has_interval(row) for _, row in own.iterrows()]]
        if judged.empty:
            continue
        ordered = judged.sort_values("difference", kind="stable")
        low, high = ordered.iloc[0], ordered.iloc[-1]
        sentences.append(
            f"{label_title(str(sweep))} over {option} at size {size}, minus {base}'s loss: least"
            f" {_point(low)}, greatest {_point(high)} nats per token."
        )
    return sentences


def _point(row: pd.Series) -> str:
    return f"{row['difference']:+.3f} ({interval(row, 3)}) with {row['value']:g}"
