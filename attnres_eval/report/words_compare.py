"""What several studies say together, and what cannot be compared."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from attnres_eval.report.compare_table import Compared
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import interval


def shared_labels(studies: Sequence[Compared]) -> list[str]:
    """Labels beside the baseline that several studies have."""
    every = [label for study in studies for label in _labels(study)]
    return [label for label in dict.fromkeys(every) if every.count(label) > 1]


def _labels(study: Compared) -> list[str]:
    plan = study.results.study
    return [label for label in plan.variants if label != plan.baseline]


def compare_headline(studies: Sequence[Compared], table: pd.DataFrame) -> str:
    """The first sentence: at how many labels studies contradict each other."""
    labels = [label for label in shared_labels(studies) if _pairs(studies, table, label)]
    several = f"{len(studies)} studies side by side"
    if not labels:
        return f"{several}: no variant has a compute multiplier with an interval in two of them."
    apart = [label for label in labels if _apart(_pairs(studies, table, label))]
    named = listed([label_title(label) for label in labels])
    if not apart:
        return (
            f"{several}: the intervals of the compute multiplier of {named} overlap, so no"
            " difference between the studies is shown."
        )
    return (
        f"{several}: the compute multipliers of {listed([label_title(x) for x in apart])} differ"
        " between studies by more than their intervals allow"
        + ("." if len(apart) == len(labels) else f" (compared: {named}).")
    )


def agreement_sentences(studies: Sequence[Compared], table: pd.DataFrame) -> list[str]:
    """Where the studies agree and disagree about a multiplier, label by label."""
    sentences, compared = [], 0
    for label in shared_labels(studies):
        pairs = _pairs(studies, table, label)
        compared += len(pairs)
        sentences += [*_unlike(studies, table, label), *_of_label(label, pairs)]
    if compared:
        sentences.append(
            f"{counted(compared, 'pair')} of intervals compared. Two 95% intervals of one and the"
            " same multiplier keep apart in at most 5% of cases; that they overlap shows neither"
            " that the multipliers are equal nor that they differ."
        )
    return sentences


def _of_label(label: str, pairs: Sequence[tuple[pd.Series, pd.Series]]) -> list[str]:
    if not pairs:
        return [f"{label_title(label)}: no two studies have intervals that can be compared."]
    rows = {row["study"]: row for pair in pairs for row in pair}
    told = listed(
        [f"{name} {row['multiplier']:.2f} ({interval(row)})" for name, row in rows.items()]
    )
    apart = _apart(pairs)
    text = f"{label_title(label)}: {told}. "
    if apart:
        names = listed([f"{a['study']} and {b['study']}" for a, b in apart])
        text += f"The intervals of {names} do not overlap."
    else:
        text += "All intervals overlap." if len(pairs) > 1 else "The intervals overlap."
    return [f"{text} {_sides(list(rows.values()))}"]


def _sides(rows: Sequence[pd.Series]) -> str:
    """On which side of 1 the intervals lie."""
    above = [str(row["study"]) for row in rows if row["ci_low"] > 1]
    below = [str(row["study"]) for row in rows if row["ci_high"] < 1]
    if len(above) == len(rows) or len(below) == len(rows):
        return f"Every one lies {'above' if above else 'below'} 1."
    told = [
        f"{'that' if len(names) == 1 else 'those'} of {listed(names)}"
        f" {'lies' if len(names) == 1 else 'lie'} {side} 1"
        for names, side in ((above, "above"), (below, "below"))
        if names
    ]
    if len(above) + len(below) < len(rows):
        told.append("all contain 1" if not told else "the rest contains 1")
    text = listed(told)
    return f"{text[0].upper()}{text[1:]}."


def _apart(
    pairs: Sequence[tuple[pd.Series, pd.Series]],
) -> list[tuple[pd.Series, pd.Series]]:
    """The pairs whose intervals do not overlap."""
    return [(a, b) for a, b in pairs if a["ci_high"] < b["ci_low"] or b["ci_high"] < a["ci_low"]]


def _pairs(
    studies: Sequence[Compared], table: pd.DataFrame, label: str
) -> list[tuple[pd.Series, pd.Series]]:
    """Rows of a label with intervals, two studies at a time that mean the same by it."""
    known = _known(table, label)
    means = {study.name: _meaning(study, label) for study in studies if study.name in known}
    return [(known[a], known[b]) for a, b in combinations(known, 2) if means[a] == means[b]]


def _known(table: pd.DataFrame, label: str) -> dict[str, pd.Series]:
    """The rows of a label that have an interval, by study."""
    rows = table[table["variant"] == label]
    return {str(row["study"]): row for _, row in rows.iterrows() if has_interval(row)}


def _meaning(study: Compared, label: str) -> tuple[object, ...]:
    """What a study means by a label and its multiplier: its residual, rate and baseline."""
    plan = study.results.study
    return tuple(
        (one.variant, one.options, one.learning_rate_scale, one.flops_of)
        for one in (plan.label(label), plan.label(plan.baseline))
    )


def _unlike(studies: Sequence[Compared], table: pd.DataFrame, label: str) -> list[str]:
    """A sentence where studies with intervals mean different things by a label."""
    known = _known(table, label)
    meanings: dict[tuple[object, ...], list[str]] = {}
    for study in studies:
        if study.name in known:
            meanings.setdefault(_meaning(study, label), []).append(study.name)
    if len(meanings) < 2:
        return []
    return [
        f"{label_title(label)}, its rate over the recipe's, or the baseline is not the same in all"
        f" studies: {' | '.join(listed(names) for names in meanings.values())}. Multipliers are not"
        " compared across this divide."
    ]


def comparability_sentences(studies: Sequence[Compared]) -> list[str]:
    """Which studies' losses share a unit and data, and what multipliers leave open."""
    groups: dict[tuple[str, int], list[str]] = {}
    for study in studies:
        held_out = study.results.study.data.validation_tokens
        groups.setdefault((study.data_sha256, held_out), []).append(study.name)
    shared = [names for names in groups.values() if len(names) > 1]
    sentences = [
        f"{listed(names)} have the same tokenizer, token files and held-out tokens: their losses,"
        " and differences of losses, in nats per token can be compared."
        for names in shared
    ]
    if len(groups) > 1:
        told = [listed(names) for names in groups.values()]
        sentences.append(
            f"Tokenizer, token files or held-out tokens differ between {' | '.join(told)}: across"
            " this divide losses and differences of losses are not comparable, since a token does"
            " not stand for the same text. A multiplier has no unit, and compares each study with"
            " its own baseline; but it too may depend on data, sizes and learning rate."
        )
    precisions = {study.precision for study in studies}
    if len(precisions) > 1:
        told = [f"{study.name} {study.precision}" for study in studies]
        sentences.append(f"Precision differs: {listed(told)}.")
    machines = {
        machine.processor for study in studies for machine in study.results.machines.values()
    }
    if len(machines) > 1:
        sentences.append(
            "Not all ran on one kind of processor: multipliers at equal time hold for their own"
            " machine each."
        )
    return sentences
