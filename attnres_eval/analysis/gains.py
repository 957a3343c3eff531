"""Whether a variant gains more on reasoning over several steps than on other tasks.

The paper sees its largest gains on multi-step reasoning (arXiv:2603.15031, table 3). Here a
variant's mean gain over the baseline on tasks with a number of steps is set against its mean gain
on all others, every task weighing the same.
"""

import itertools

import pandas as pd

from attnres_eval.analysis.clustered import beyond_rounding, estimate
from attnres_eval.analysis.collect import STEPS, Results
from attnres_eval.analysis.paired import paired_differences

METRIC = "acc"
COLUMNS = [
    "variant",
    "size",
    "metric",
    "n_reasoning",
    "n_other",
    "n_questions",
    "n_seeds",
    "reasoning_gain",
    "other_gain",
    "difference",
    "ci_low",
    "ci_high",
    "p",
]


def gains_table(results: Results, answers: pd.DataFrame) -> pd.DataFrame:
    """One row a size and variant that was scored on tasks of both kinds.

    `difference` is the gain on reasoning minus that on the others; its interval counts questions
    and seeds (`attnres_eval.analysis.clustered`).

    Args:
        results: for the baseline and the order of variants.
        answers: `attnres_eval.analysis.questions.answers`.
    """
    rows = []
    scored = answers[answers["metric"] == METRIC]
    tasks: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    for size, task, _, label, difference in paired_differences(results, scored):
        tasks.setdefault((size, label), {})[task] = difference
    sizes = list(dict.fromkeys(size for size, _ in tasks))
    for size, label in itertools.product(sizes, results.study.variants):
        row = _row(tasks.get((size, label), {}))
        if row:
            rows.append({"variant": label, "size": size, "metric": METRIC} | row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(tasks: dict[str, pd.DataFrame]) -> dict[str, object]:
    """The comparison over paired differences by task; empty without tasks of both kinds."""
    reasoning = [task for task in tasks if STEPS.match(task)]
    other = [task for task in tasks if task not in reasoning]
    if not reasoning or not other:
        return {}
    joined = pd.concat(tasks, names=["task"]).dropna(axis=1)
    if not joined.shape[1]:
        return {}
    of_task = joined.index.get_level_values("task")
    # The mean over strata divides by all tasks: so weighed, it is one mean minus the other.
    weights = of_task.map(
        lambda task: len(tasks) / (len(reasoning) if task in reasoning else -len(other))
    )
    clusters = joined.index.get_level_values("cluster")
    found = estimate(joined.mul(weights.to_numpy(), axis=0), clusters, of_task).questions_and_seeds
    means = joined.mean(axis=1).groupby(of_task).mean()
    return {
        "n_reasoning": len(reasoning),
        "n_other": len(other),
        "n_questions": len(joined),
        "n_seeds": joined.shape[1],
        "reasoning_gain": beyond_rounding(means[reasoning].mean(), joined),
        "other_gain": beyond_rounding(means[other].mean(), joined),
        "difference": found.mean,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "p": found.p_value,
    }
