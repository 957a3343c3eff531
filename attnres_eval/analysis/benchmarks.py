"""Benchmark scores with intervals over questions, beside what guessing gives.

The seeds of one variant answer the same questions, so scores are averaged over seeds within a
question first and the question, or what it hangs together with, is the cluster
(`attnres_eval.analysis.clustered`). What other seeds would give is not in these intervals:
`seed_sd` shows it where there are seeds. Differences between variants are in `paired`.
"""

import math

import pandas as pd

from attnres_eval.analysis.clustered import estimate
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.questions import SHARES

COLUMNS = [
    "task",
    "variant",
    "size",
    "metric",
    "n_questions",
    "n_clusters",
    "limit",
    "num_fewshot",
    "n_seeds",
    "score",
    "ci_low",
    "ci_high",
    "seed_sd",
    "chance",
    "differs_from_chance",
]


def benchmarks_table(results: Results, answers: pd.DataFrame) -> pd.DataFrame:
    """One row a task, size, variant and metric.

    `chance` is what the model's own likelihoods would score if the right choice were drawn among
    the choices, missing for generation. `differs_from_chance` is true or false where there is an
    interval of score minus chance to judge by, missing otherwise.

    Args:
        results: for the order of sizes and variants.
        answers: `attnres_eval.analysis.questions.answers`.
    """
    asked = {
        record.task: (record.limit, record.num_fewshot)
        for run in results.finished["run"]
        for record in results.tasks.get(run, [])
    }
    study = results.study
    rows = []
    groups = dict(list(answers.groupby(["task", "size", "variant"], sort=False)))
    for task, (limit, num_fewshot) in asked.items():
        for size in study.sizes:
            for label in study.variants:
                part = groups.get((task, size, label))
                if part is None:
                    continue
                for metric, scores in part.groupby("metric", sort=False):
                    about = {"task": task, "variant": label, "size": size, "metric": metric}
                    asked_for = {"limit": limit, "num_fewshot": num_fewshot}
                    rows.append(about | asked_for | _score(scores))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(limit=frame["limit"].astype("Int64"))


def by_question(scores: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """Questions that every seed answered (rows, by cluster and question) by seeds (columns).

    Args:
        scores: rows of `answers`, of one task, size, variant and metric.
        column: what the cells hold.
    """
    index = ["cluster", "question", "occurrence"]
    return scores.pivot(index=index, columns="seed", values=column).dropna()


def _score(scores: pd.DataFrame) -> dict[str, object]:
    values = by_question(scores)
    clusters = values.index.get_level_values("cluster")
    over_questions = estimate(values, clusters).questions
    seed_means = values.mean(axis=0)
    # What lies beyond is no accuracy or probability.
    least, most = (0.0, 1.0) if scores["metric"].iloc[0] in SHARES else (-math.inf, math.inf)
    row: dict[str, object] = {
        "n_questions": len(values),
        "n_clusters": clusters.nunique(),
        "n_seeds": values.shape[1],
        "score": over_questions.mean,
        "ci_low": max(over_questions.interval.low, least),
        "ci_high": min(over_questions.interval.high, most),
        "seed_sd": float(seed_means.std(ddof=1)) if values.shape[1] > 1 else math.nan,
        "chance": math.nan,
        "differs_from_chance": None,
    }
    if scores["chance"].notna().all():
        chance = by_question(scores, "chance")
        above = estimate(values - chance, clusters).questions.interval
        row["chance"] = float(chance.to_numpy().mean())
        row["differs_from_chance"] = not above.contains(0.0) if above.exists else None
    return row
