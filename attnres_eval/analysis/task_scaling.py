"""Benchmarks over compute: how scores move along the ladder, and what compute they are worth.

The task-based compute multiplier is the loss's (`attnres_eval.analysis.multiplier`) with the gold
choice's bits per byte in the place of the loss: the compute that the baseline needs for the
variant's gold bits per byte, over the variant's own.
"""

import pandas as pd

from attnres_eval.analysis.axes import over_flops
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import t_interval
from attnres_eval.analysis.multiplier import SHARED, multipliers
from attnres_eval.analysis.paired import ALL_TASKS
from attnres_eval.analysis.questions import FINE, GOLD_BITS
from attnres_eval.cost import PFLOPS_DAY

COLUMNS = [
    "task",
    "metric",
    "variant",
    "size",
    "flops",
    "n_seeds",
    "score",
    "ci_low",
    "ci_high",
    "chance",
]
RUN_SCORES = ["flops", "score", "chance"]
MULTIPLIER_COLUMNS = [
    "task",
    "variant",
    "target_compute_flops",
    "target_compute_pflops_days",
    "multiplier",
    "ci_low",
    "ci_high",
    "n_seeds",
    "n_sizes",
    "note",
]


def run_scores(results: Results, answers: pd.DataFrame) -> pd.DataFrame:
    """Mean score and chance of each run by task and metric, and of all tasks that every run has.

    Returns:
        Columns task, metric, label, size, seed, flops, score, chance.
    """
    keys = ["task", "metric", "variant", "size", "seed"]
    if answers.empty:
        return pd.DataFrame(columns=["task", "metric", "label", "size", "seed", *RUN_SCORES])
    means = answers.groupby(keys, sort=False)[["value", "chance"]].mean().reset_index()
    fine = means[means["metric"].isin(["acc", *FINE])]
    runs = fine.groupby(["variant", "size", "seed"]).ngroups
    complete = fine.groupby(["metric", "task"]).filter(lambda part: len(part) == runs)
    if complete["task"].nunique() > 1:
        pooled = complete.groupby(keys[1:], sort=False)[["value", "chance"]].mean().reset_index()
        means = pd.concat([pooled.assign(task=ALL_TASKS), means], ignore_index=True)
    flops = results.finished.set_index(["label", "size", "seed"])["flops"]
    at = pd.MultiIndex.from_frame(means[["variant", "size", "seed"]])
    means["flops"] = flops.reindex(at).to_numpy()
    return means.rename(columns={"value": "score", "variant": "label"})


def task_scaling_table(results: Results, scores: pd.DataFrame) -> pd.DataFrame:
    """One row a task, metric, variant and size; Student's interval is over seeds.

    Args:
        results: for the order of variants and sizes.
        scores: `run_scores`.
    """
    rows = []
    groups = dict(list(scores.groupby(["task", "metric", "label", "size"], sort=False)))
    pairs = dict.fromkeys(zip(scores["task"], scores["metric"], strict=True))
    for task, metric in pairs:
        for label in results.study.variants:
            for size in results.study.sizes:
                part = groups.get((task, metric, label, size))
                if part is None:
                    continue
                interval = t_interval(part["score"])
                rows.append(
                    {
                        "task": task,
                        "metric": metric,
                        "variant": label,
                        "size": size,
                        "flops": part["flops"].mean(),
                        "n_seeds": len(part),
                        "score": part["score"].mean(),
                        "ci_low": interval.low,
                        "ci_high": interval.high,
                        "chance": part["chance"].mean(),
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def task_multipliers_table(results: Results, scores: pd.DataFrame) -> pd.DataFrame:
    """Compute multipliers by gold bits per byte, a row a task and variant, one shared exponent.

    A task whose bits per byte do not fall with compute has rows without numbers and a note; so
    has every task where one size was scored.
    """
    rows = []
    gold = scores[scores["metric"] == GOLD_BITS].rename(columns={"score": "loss"})
    for task, part in gold.groupby("task", sort=False):
        if part["label"].nunique() < 2 or results.study.baseline not in set(part["label"]):
            continue
        for found in multipliers(over_flops(part), results.study.baseline, models=[SHARED]):
            rows.append(
                {
                    "task": task,
                    "variant": found.label,
                    "target_compute_flops": found.target * PFLOPS_DAY,
                    "target_compute_pflops_days": found.target,
                    "multiplier": found.value,
                    "ci_low": found.interval.low,
                    "ci_high": found.interval.high,
                    "n_seeds": found.n_seeds,
                    "n_sizes": found.n_sizes,
                    "note": found.note,
                }
            )
    return pd.DataFrame(rows, columns=MULTIPLIER_COLUMNS)
