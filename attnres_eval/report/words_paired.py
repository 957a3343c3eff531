"""What paired comparison, task scaling and reasoning steps say, in sentences."""

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.mcnemar import published_gain
from attnres_eval.analysis.paired import ALL_TASKS
from attnres_eval.analysis.questions import GOLD_BITS
from attnres_eval.reference.paper import questions, table3
from attnres_eval.report.select import has_interval
from attnres_eval.report.style import label_title
from attnres_eval.report.wording import counted, listed
from attnres_eval.report.words import MOST_NAMED, by_luck, interval, verdict

PLAIN = {"acc": "accuracy", GOLD_BITS: "bits per byte of the right choice (lower is better)"}
"""The metrics that sentences are about."""

PUBLISHED_TASK = "GPQA-Diamond"
"""The benchmark with the largest published gain."""


def paired_sentences(results: Results, paired: pd.DataFrame, mcnemar: pd.DataFrame) -> list[str]:
    """Each variant against the baseline over all tasks, then task by task after Holm."""
    if paired.empty:
        return [f"Nothing was scored that {label_title(results.study.baseline)} was scored on."]
    size = largest_scored(results, paired)
    own = paired[paired["size"] == size]
    sentences = [_over_all(row) for _, row in own[_headline_rows(own)].iterrows()]
    return [*sentences, *_by_task(own), *_mcnemar(mcnemar[mcnemar["size"] == size])]


def largest_scored(results: Results, table: pd.DataFrame) -> str:
    """The last of the study's sizes that a table has."""
    known = set(table["size"])
    return [size for size in results.study.sizes if size in known][-1]


def _headline_rows(own: pd.DataFrame) -> pd.Series:
    """Means over tasks, or the single task there is."""
    tasks = set(own["task"])
    main = ALL_TASKS if ALL_TASKS in tasks else next(iter(tasks))
    return (own["task"] == main) & own["metric"].isin(PLAIN)


def _over_all(row: pd.Series) -> str:
    what = "the mean over tasks" if row["task"] == ALL_TASKS else row["task"]
    counts = (
        f"{counted(int(row['n_questions']), 'question')}, {counted(int(row['n_seeds']), 'seed')}"
    )
    text = (
        f"{label_title(row['variant'])} on {what}, {PLAIN[row['metric']]}, size {row['size']}:"
        f" {row['difference']:+.4f} ({counts})"
    )
    if not has_interval(row):
        if not has_interval(row, "questions_ci_low", "questions_ci_high"):
            return f"{text}, without an interval."
        sure = interval(row, 4, "questions_ci_low", "questions_ci_high")
        return f"{text}, {sure} for these very models; nothing is known of other seeds."
    side = "contains" if row["ci_low"] <= 0 <= row["ci_high"] else "excludes"
    return (
        f"{text}, 95% interval {interval(row, 4)} over questions and seeds, which {side} 0; a true"
        f" difference of {row['detectable']:.4f} would be seen in 80% of such studies."
    )


def _by_task(own: pd.DataFrame) -> list[str]:
    judged = own[(own["task"] != ALL_TASKS) & own["p_holm"].notna()]
    if judged.empty:
        return []
    found = judged[judged["p_holm"] <= 0.05]
    raw = int((judged["p"] <= 0.05).sum())
    text = (
        f"Task by task, the interval of {raw} of {counted(len(judged), 'difference')} excludes 0"
        f" ({by_luck(len(judged))}); after Holm's correction over tasks {len(found)}"
        f" {'is' if len(found) == 1 else 'are'} left."
    )
    parts = [
        f"{label_title(row['variant'])} on {row['task']} ({row['metric']}) {row['difference']:+.4f}"
        for _, row in found.iterrows()
    ]
    if 0 < len(parts) <= MOST_NAMED:
        text += f" Left: {listed(parts)}."
    return [text]


def _mcnemar(mcnemar: pd.DataFrame) -> list[str]:
    tests = mcnemar.drop_duplicates(["task", "variant", "seed"])
    if tests.empty:
        return []
    found = int((tests["p_holm"] <= 0.05).sum())
    return [
        f"McNemar's exact test of single pairs of runs: {found} of"
        f" {counted(len(tests), 'pair')} (task, variant, seed)"
        f" {'differs' if found == 1 else 'differ'} at 5% after Holm's correction over tasks. It"
        " says that two models differ, not that their recipes do."
    ]


def gains_sentences(gains: pd.DataFrame) -> list[str]:
    """Whether reasoning over steps improves most: each variant's gain there against the others."""
    sentences = []
    for _, row in gains.iterrows():
        text = (
            f"{label_title(row['variant'])} gains {100 * row['reasoning_gain']:+.1f} points on"
            f" tasks with a number of steps and {100 * row['other_gain']:+.1f} on the others"
        )
        if not has_interval(row):
            sentences.append(f"{text}, a difference without an interval.")
            continue
        sure = f"{100 * row['ci_low']:+.1f} to {100 * row['ci_high']:+.1f}"
        most = "improves most" if row["ci_low"] > 0 else "is not seen to improve most"
        sentences.append(
            f"{text}: a difference of {100 * row['difference']:+.1f} (95% interval {sure}, over"
            f" questions and seeds), so reasoning over steps {most}."
        )
    return sentences


def published_gain_sentence() -> str:
    """What the paper's gain on GPQA-Diamond can mean on its number of questions."""
    table = table3().merge(questions(), on="task")
    row = table[table["task"] == PUBLISHED_TASK].iloc[0]
    baseline, attnres = row["baseline"] / 100, row["block_attnres"] / 100
    gain = published_gain(baseline, attnres, int(row["questions"]))
    return (
        f"Beside it, the published {100 * gain.gain:+.1f} points on GPQA-Diamond, one run each on"
        f" {gain.questions} questions: if the two models' answers had nothing to do with each"
        f" other, the smallest difference seen in 80% of such tests would be"
        f" {100 * gain.detectable:.1f} points, and this gain is significant at 5% only if they"
        f" answered at most {gain.most_discordant:.0%} of the questions differently (right against"
        f" wrong; {gain.independent_discordant:.0%} if independent). The answers are not"
        " published, nor is another seed."
    )


def task_scaling_sentences(multipliers: pd.DataFrame) -> list[str]:
    """Task-based compute multipliers: all tasks first, then how many tasks bear one."""
    known = multipliers.dropna(subset=["multiplier"])
    if known.empty:
        notes = listed(list(dict.fromkeys(multipliers["note"])))
        return [f"No task bears a compute multiplier ({notes})."] if notes else []
    sentences = []
    for _, row in known[known["task"] == ALL_TASKS].iterrows():
        sure = f"95% interval {interval(row, 3)}" if has_interval(row) else "no interval"
        sentences.append(
            f"By bits per byte of the right choice over all tasks,"
            f" {label_title(row['variant'])} has the compute multiplier {row['multiplier']:.3f}"
            f" ({sure}): it {verdict(row)}."
        )
    single = multipliers[multipliers["task"] != ALL_TASKS]
    borne = single.dropna(subset=["multiplier"])
    judged = borne[[has_interval(row) for _, row in borne.iterrows()]]
    excluding = int(((judged["ci_low"] > 1) | (judged["ci_high"] < 1)).sum())
    text = (
        f"{borne['task'].nunique()} of {counted(single['task'].nunique(), 'task')} bear a"
        " multiplier of their own"
    )
    if len(judged):
        verb = "excludes" if excluding == 1 else "exclude"
        text += f"; {excluding} of {len(judged)} intervals {verb} 1, {by_luck(len(judged))}"
    return [*sentences, f"{text}."]


def steps_sentences(steps: pd.DataFrame) -> list[str]:
    """Up to which number of steps each family is answered, and who answers better."""
    sentences = []
    for family, part in steps.groupby("family", sort=False):
        reached = part[part["beats_chance"]].groupby("variant", sort=False)["steps"].max()
        lowest, highest = int(part["steps"].min()), int(part["steps"].max())
        if reached.empty:
            sentences.append(f"{family}: nothing beats chance at any of k {lowest} to {highest}.")
            continue
        best = listed([f"{label_title(str(name))} {int(k)}" for name, k in reached.items()])
        absent = [name for name in dict.fromkeys(part["variant"]) if name not in reached.index]
        text = f"{family}: the largest k (of {lowest} to {highest}) that beats chance is {best}"
        if absent:
            text += f"; none for {listed([label_title(name) for name in absent])}"
        sentences.append(f"{text}.")
    judged = steps.dropna(subset=["p"])
    if len(judged):
        found = int((judged["p"] <= 0.05).sum())
        sentences.append(
            f"Against the baseline, {found} of {counted(len(judged), 'paired difference')}"
            f" {'excludes' if found == 1 else 'exclude'} 0 when questions and seeds are counted;"
            f" {by_luck(len(judged))}."
        )
    return sentences
