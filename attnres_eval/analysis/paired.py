"""Paired comparison with the baseline on benchmark questions.

Each question's score by a variant minus its score by the baseline of the same seed; see
`attnres_eval.analysis.clustered` for the two standard errors. The one over questions and seeds is
the result: it speaks for new training runs as well as for new questions.
"""

import math
from collections.abc import Iterator

import pandas as pd

from attnres_eval.analysis.benchmarks import by_question
from attnres_eval.analysis.clustered import Estimates, estimate
from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.mcnemar import holm, mcnemar
from attnres_eval.analysis.questions import ACCURACY, FINE, SHARES

ALL_TASKS = "all tasks"
"""The mean over tasks, each weighing the same."""

COLUMNS = [
    "task",
    "variant",
    "size",
    "metric",
    "n_questions",
    "n_clusters",
    "n_seeds",
    "difference",
    "ci_low",
    "ci_high",
    "error",
    "p",
    "p_holm",
    "detectable",
    "questions_ci_low",
    "questions_ci_high",
    "questions_error",
    "detectable_questions",
]

MCNEMAR_COLUMNS = [
    "task",
    "variant",
    "size",
    "metric",
    "seed",
    "n_questions",
    "only_variant",
    "only_baseline",
    "p",
    "p_holm",
]


def paired_differences(
    results: Results, answers: pd.DataFrame
) -> Iterator[tuple[str, str, str, str, pd.DataFrame]]:
    """Size, task, metric and variant of each pair with the baseline, and its differences.

    The differences are questions by seeds that both have; a pair without any is left out.

    Args:
        results: for the baseline and the order of variants.
        answers: rows of `attnres_eval.analysis.questions.answers`.
    """
    study = results.study
    for (size, task, metric), part in answers.groupby(["size", "task", "metric"], sort=False):
        own = dict(list(part.groupby("variant", sort=False)))
        if study.baseline not in own:
            continue
        theirs = by_question(own[study.baseline])
        for label in study.variants:
            if label in own and label != study.baseline:
                both = by_question(own[label]) - theirs
                both = both.dropna(axis=1, how="all").dropna()
                if both.size:
                    yield str(size), str(task), str(metric), label, both


def paired_table(results: Results, answers: pd.DataFrame) -> pd.DataFrame:
    """One row a task, size, variant and metric, and one for the mean over tasks.

    `difference` is the variant's mean minus the baseline's over the questions and seeds that both
    have. `ci_*`, `error`, `p` and `detectable` (the smallest true difference seen in 80% of
    such studies) count questions and seeds; `questions_*` take the models as they are. `p_holm`
    is `p` after Holm over the tasks of one size, variant and metric. Intervals of differences of
    shares end at -1 and 1.

    Args:
        results: for the baseline and the order of variants.
        answers: `attnres_eval.analysis.questions.answers`.
    """
    rows = []
    pooled: dict[tuple[str, str], dict[str, dict[str, pd.DataFrame]]] = {}
    for size, task, metric, label, difference in paired_differences(results, answers):
        about = {"task": task, "variant": label, "size": size, "metric": metric}
        rows.append(about | _row(difference, metric))
        if metric in ("acc", *FINE):
            pooled.setdefault((size, metric), {}).setdefault(label, {})[task] = difference
    for (size, metric), of_label in pooled.items():
        for label in filter(of_label.get, results.study.variants):
            about = {"task": ALL_TASKS, "variant": label, "size": size, "metric": metric}
            rows += [about | row for row in _pooled(of_label[label], metric)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    single = frame["task"] != ALL_TASKS
    for _, part in frame[single].groupby(["size", "variant", "metric"]):
        frame.loc[part.index, "p_holm"] = holm(part["p"].tolist())
    return frame


def _row(
    difference: pd.DataFrame, metric: str, strata: pd.Index | None = None
) -> dict[str, object]:
    """difference: questions by seeds, indexed by cluster and question."""
    # Two seeds alone may bear an interval that is wider than any difference of shares can be.
    most = 1.0 if metric in SHARES else math.inf
    clusters = difference.index.get_level_values("cluster")
    found: Estimates = estimate(difference, clusters, strata)
    questions, both = found
    return {
        "n_questions": len(difference),
        "n_clusters": len(set(zip(strata, clusters, strict=True)))
        if strata is not None
        else clusters.nunique(),
        "n_seeds": difference.shape[1],
        "difference": both.mean,
        "ci_low": max(both.interval.low, -most),
        "ci_high": min(both.interval.high, most),
        "error": both.error,
        "p": both.p_value,
        "detectable": both.detectable,
        "questions_ci_low": max(questions.interval.low, -most),
        "questions_ci_high": min(questions.interval.high, most),
        "questions_error": questions.error,
        "detectable_questions": questions.detectable,
    }


def _pooled(tasks: dict[str, pd.DataFrame], metric: str) -> list[dict[str, object]]:
    """A row for the mean over the differences of several tasks; none where there is one task."""
    if len(tasks) < 2:
        return []
    joined = pd.concat(tasks, names=["task"]).dropna(axis=1)
    if not joined.shape[1]:
        return []
    return [_row(joined, metric, joined.index.get_level_values("task"))]


def mcnemar_table(results: Results, answers: pd.DataFrame) -> pd.DataFrame:
    """McNemar's exact test of each pair of runs of one seed, by task and accuracy.

    `p_holm` is after Holm over the tasks of one size, variant, metric and seed. It takes the two
    models as they are: another seed may say otherwise.
    """
    rows = []
    right_or_wrong = answers[answers["metric"].isin(ACCURACY)]
    for size, task, metric, label, difference in paired_differences(results, right_or_wrong):
        for seed in difference.columns:
            test = mcnemar(int((difference[seed] > 0).sum()), int((difference[seed] < 0).sum()))
            rows.append(
                {
                    "task": task,
                    "variant": label,
                    "size": size,
                    "metric": metric,
                    "seed": seed,
                    "n_questions": len(difference),
                    "only_variant": test.only_first,
                    "only_baseline": test.only_second,
                    "p": test.p_value,
                }
            )
    frame = pd.DataFrame(rows, columns=MCNEMAR_COLUMNS)
    for _, part in frame.groupby(["size", "variant", "metric", "seed"]):
        frame.loc[part.index, "p_holm"] = holm(part["p"].tolist())
    return frame
