"""The results in sentences, each made from the numbers that bear it."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import CONFIDENCE
from attnres_eval.analysis.multiplier import BOTH_OWN, SHARED
from attnres_eval.cost import PFLOPS_DAY, matrix_parameters
from attnres_eval.labels import own_base, split_label
from attnres_eval.report.plot_compare import short_count
from attnres_eval.report.select import has_interval, main_row, of_model
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words_variants import counted_variants, variants_in_words
from attnres_eval.study import Study

MOST_NAMED = 6
"""More findings than this are left to the table."""


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(value: float) -> str:
    """Three digits and a power of ten: 5.98×10¹⁴."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def compute(flops: float) -> str:
    """A compute in FLOPs and in PFLOP/s-days."""
    days = flops / PFLOPS_DAY
    shown = f"{days:.3g}" if days >= 0.01 else power_of_ten(days)
    return f"{power_of_ten(flops)} FLOPs ({shown} PFLOP/s-days)"


def interval(row: pd.Series, digits: int = 2, low: str = "ci_low", high: str = "ci_high") -> str:
    """The ends of an interval that exists."""
    return f"{row[low]:.{digits}f} to {row[high]:.{digits}f}"


def verdict(row: pd.Series, what: str = "compute") -> str:
    """What an interval for a multiplier of `what` says about 1, as a verb phrase."""
    if not has_interval(row):
        return "has no interval"
    if row["ci_low"] > 1:
        return f"saves {what}"
    if row["ci_high"] < 1:
        return f"costs {what}"
    return "cannot be told from the baseline"


def headline(results: Results, multipliers: pd.DataFrame, variant: str | None) -> str:
    """The report's first sentence, and the same at the variant's own rate where that was run."""
    base = label_title(results.study.baseline)
    if variant is None:
        return f"No compute multiplier over {base} can be stated from these runs."
    return _finding(base, multipliers, variant) + at_own_rate(multipliers, variant)


def _finding(base: str, multipliers: pd.DataFrame, variant: str) -> str:
    row = main_row(multipliers, variant)
    name = label_title(variant)
    at = f"at {power_of_ten(row['target_compute_flops'])} FLOPs"
    needs = f"{base} needs {row['multiplier']:.2f} times the compute of {name} for the same loss"
    if not has_interval(row):
        return f"{needs} {at}; the runs bear no interval ({row['note']}), so this is no finding."
    sure = f"95% interval {interval(row)}"
    if row["ci_low"] > 1:
        return f"{name} saves compute here: {needs} {at} ({sure})."
    if row["ci_high"] < 1:
        return f"{name} costs compute here: {needs} {at} ({sure})."
    return f"{name} cannot be told from {base} here: {needs} {at}, but the {sure} contains 1."


def at_own_rate(multipliers: pd.DataFrame, variant: str) -> str:
    """The multiplier of a variant at its own rate, as a sentence behind its first one.

    Empty where it was run at no other rate, or at several.
    """
    known = of_model(multipliers).dropna(subset=["multiplier"])["variant"]
    others = [name for name in known if name != variant and own_base(name) == variant]
    if len(others) != 1:
        return ""
    first, own = main_row(multipliers, variant), main_row(multipliers, others[0])
    sure = f"95% interval {interval(own)}" if has_interval(own) else "no interval"
    text = f" {label_title(others[0])}: {own['multiplier']:.2f} times ({sure})"
    fair = _over_own(multipliers, others[0])
    if not has_interval(first) or not has_interval(own):
        return f"{text}.{fair}"
    if verdict(first) == verdict(own):
        return f"{text}, which {verdict(own)} too.{fair}"
    return f"{text}, which {verdict(own)}: the learning rate decides.{fair}"


def _over_own(multipliers: pd.DataFrame, label: str) -> str:
    """The same over the baseline at its own rate; empty where that was not run."""
    rows = of_model(multipliers, BOTH_OWN)
    rows = rows[(rows["variant"] == label) & rows["multiplier"].notna()]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    sure = f"95% interval {interval(row)}" if has_interval(row) else "no interval"
    said = f", which {verdict(row)}" if has_interval(row) else ""
    return f" Over the baseline at its own rate too: {row['multiplier']:.2f} times ({sure}){said}."


def multiplier_sentences(results: Results, multipliers: pd.DataFrame) -> list[str]:
    """One sentence a variant, with interval, verdict and simulated coverage."""
    base = label_title(results.study.baseline)
    sentences = []
    rows = of_model(multipliers)
    for note, unknown in rows[rows["multiplier"].isna()].groupby("note", sort=False):
        labels = list(unknown["variant"])
        few = len(labels) <= MOST_NAMED
        who = listed(list(map(label_title, labels))) if few else counted_variants(labels)
        sentences.append(f"{who}: no multiplier ({note}).")
    for _, row in rows.dropna(subset=["multiplier"]).iterrows():
        name = label_title(row["variant"])
        text = f"{name} against {base}: {row['multiplier']:.3f}"
        if not has_interval(row):
            sentences.append(f"{text}, without an interval ({row['note']}).")
            continue
        side = "contains" if row["ci_low"] <= 1 <= row["ci_high"] else "excludes"
        text += (
            f", 95% interval {interval(row, 3)} (Student's t over the per-seed log multipliers of"
            f" {counted(int(row['n_seeds']), 'seed')} at {counted(int(row['n_sizes']), 'size')});"
            f" it {side} 1, so {name} {verdict(row)} here."
        )
        if pd.notna(row["coverage"]):
            text += (
                f" Simulated for this design, such an interval holds the true value in"
                f" {row['coverage']:.1%} of cases."
            )
        if row["note"]:
            text += f" Note: {row['note']}."
        sentences.append(text)
    return sentences + multiplicity(multipliers)


def multiplicity(multipliers: pd.DataFrame) -> list[str]:
    """How many intervals would exclude 1 by luck; nothing for a single one."""
    rows = of_model(multipliers)
    judged = rows[[has_interval(row) for _, row in rows.iterrows()]]
    if len(judged) < 2:
        return []
    excluding = int(((judged["ci_low"] > 1) | (judged["ci_high"] < 1)).sum())
    return [
        f"{excluding} of {len(judged)} intervals {'excludes' if excluding == 1 else 'exclude'} 1;"
        f" {by_luck(len(judged))}."
    ]


def by_luck(n: int) -> str:
    """How many of `n` 95% intervals would exclude the truth by chance."""
    return f"about {n * (1 - CONFIDENCE):.2g} of {n} would by luck alone if none truly did"


def run_sentences(results: Results) -> list[str]:
    """What was run, on what, how."""
    study, runs = results.study, results.finished
    recipe, data = study.recipe, study.data
    sizes = []
    for size in study.sizes:
        own = results.runs[results.runs["size"] == size]
        base = own[own["label"] == study.baseline].iloc[0]
        sizes.append(
            f"{size} ({short_count(base['parameters'])} parameters, {base['n_layers']} blocks,"
            f" d_model {base['d_model']}, {short_count(base['tokens'])} tokens)"
        )
    seeds = counted(len(study.seeds), "seed")
    low, high = runs["flops"].min(), runs["flops"].max()
    peak = f"{recipe.learning_rate:g}"
    if recipe.learning_rate_width is not None:
        peak += f" at d_model {recipe.learning_rate_width}, falling as 1 / d_model"
    rate = f"AdamW, peak learning rate {peak}"
    if recipe.optimizer == "muon":
        rate = f"Muon (peak rate {recipe.muon_learning_rate:g}) with AdamW (peak rate {peak})"
    shares = sum(data.corpora.values())
    corpora = [
        name if len(data.corpora) == 1 else f"{name} ({share / shares:.0%})"
        for name, share in data.corpora.items()
    ]
    sentences = [
        f"{variants_in_words(study.variants)} at"
        f" {counted(len(sizes), 'size')} with {seeds}: {listed(sizes)}; parameters and blocks are"
        f" those of {label_title(study.baseline)}. {len(runs)} of {len(results.runs)} planned runs"
        " have finished.",
        f"Compute per run spans {power_of_ten(low)} to {power_of_ten(high)} FLOPs, a factor of"
        f" {high / low:.3g}. Training tokens over the matrix parameters of a PreNorm model"
        f" of the size: {_tokens_per_parameter(study)}.",
        f"Corpus {listed(corpora)}, byte-level BPE of {data.vocab_size:,} entries, context"
        f" {recipe.context}, {recipe.batch_sequences} sequences a step; {rate}, the same for all"
        f" variants{_own_rates(study)}; {recipe.schedule} schedule. All variants"
        " of a seed see the same batches in the same order.",
    ]
    if study.description:
        sentences.insert(0, f"The study describes itself: “{study.description.strip()}”")
    sized = [f"{name} ({', '.join(parts)})" for name, parts in _own_recipes(study).items() if parts]
    if sized:
        sentences.append(
            f"Where a size has its own batch or rate, it holds there: {listed(sized)}."
        )
    matched = [name for name in study.variants if study.label(name).flops_of is not None]
    sentences += [
        f"{label_title(name)} trains on as many tokens as cost the FLOPs of"
        f" {label_title(str(study.label(name).flops_of))}."
        for name in matched
    ]
    if len(study.seeds) == 1:
        sentences.append("One seed: nothing here says how much another seed would differ.")
    return sentences


def _tokens_per_parameter(study: Study) -> str:
    """The recipe's number, or the range where sizes have numbers of tokens of their own."""
    if all(size.tokens is None for size in study.sizes.values()):
        return f"{study.recipe.tokens_per_parameter:g}"
    ratios = []
    for name in study.sizes:
        run = study.run(study.baseline, name, study.seeds[0])
        ratios.append(run.tokens / matrix_parameters(run.shape))
    low, high = f"{min(ratios):.3g}", f"{max(ratios):.3g}"
    return low if low == high else f"{low} to {high}"


def one_rate(study: Study) -> bool:
    """Whether all labels train at the recipe's learning rate."""
    return all(study.label(name).learning_rate_scale == 1 for name in study.variants)


def _own_rates(study: Study) -> str:
    """Which labels have another rate, as a clause; empty where none has."""
    scales = {name: study.label(name).learning_rate_scale for name in study.variants}
    own = []
    if sum(split_label(name)[0] != name for name in scales) > MOST_NAMED:
        scales = {name: scale for name, scale in scales.items() if split_label(name)[0] == name}
        own.append("the factors named above")
    for name, scale in scales.items():
        if isinstance(scale, tuple):
            rates = listed([f"{factor:.3g}× at {size}" for size, factor in scale])
            own.append(f"{label_title(name)} ({rates})")
        elif scale != 1:
            named = split_label(name)[0] != name
            own.append(label_title(name) + ("" if named else f" at {scale:g}× the rate"))
    return f" but for {listed(own)}" if own else ""


def _own_recipes(study: Study) -> dict[str, list[str]]:
    """By size, what it has instead of the recipe's batch and rate."""
    own: dict[str, list[str]] = {}
    for name, size in study.sizes.items():
        own[name] = []
        if size.batch_sequences is not None:
            own[name].append(f"{size.batch_sequences} sequences a step")
        if size.learning_rate is not None:
            own[name].append(f"peak rate {size.learning_rate:g}")
    return own


def missing_sentences(results: Results) -> list[str]:
    """Which planned runs have no result, and why a run has not all of it; empty where all have."""
    reasons = [f"{run}: {reason.rstrip('.')}." for run, reason in results.failures.items()]
    return [*_missing(results), *reasons]


def _missing(results: Results) -> list[str]:
    missing = [str(run) for run in results.runs[~results.runs["finished"]]["run"]]
    if not missing:
        return []
    verb = "has" if len(missing) == 1 else "have"
    return [
        f"{counted(len(missing), 'planned run')} {verb} no result and {verb} left holes, not"
        f" zeros, in every table: {', '.join(missing)}."
    ]


def training_finding(final: pd.Series, baseline: str, size: str) -> str:
    """Where the learning curves end: loss by label, nats per token."""
    ends = [f"{label_title(str(label))} {loss:.3f}" for label, loss in final.items()]
    return (
        f"Smoothed training loss at size {size} ends at {listed(ends)} nats per token"
        f"{'' if baseline in final else '; the baseline has no run here'}."
    )


CONVENTIONS = [
    "FLOPs: every matrix product of the decoder counts 2mkn, the head included and the embedding"
    " look-up not; attention is counted as causal; the residual's own dot products and weighted"
    " sums count, plain additions do not; training costs three forward passes, four where"
    " activations are recomputed. One PFLOP/s-day is 8.64e19 FLOPs. The column “flops 6nd” holds"
    " the common approximation of 6 times matrix parameters times tokens beside it.",
    "Compute multiplier: the compute that the baseline's fitted curve needs for a variant's loss,"
    " over the variant's own. Above 1 the variant saves compute. The model “"
    + SHARED
    + "” is the result; the others show what other assumptions give.",
    "Multiplier at equal time: the same fits over calibrated seconds in the place of FLOPs. It"
    " holds for one machine and one implementation.",
    "The interval of a multiplier speaks for new seeds at these sizes and this recipe, not for"
    " other sizes, data or learning rates; a learning rate that suits one variant best can decide"
    " the sign of a difference.",
    "The interval of a benchmark score speaks for new questions of the same kind, not for new"
    " seeds. Differences are paired by question and seed; their main interval speaks for new"
    " questions and new seeds, the one “for these models” for new questions alone. Questions that"
    " share a passage or an MMLU subject are taken together.",
    "Chance is what a model's own likelihoods would score if the right choice were drawn among the"
    " choices: one over their number for accuracy, and a level that depends on the model for bits"
    " per byte and margins.",
]
