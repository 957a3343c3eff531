"""Benchmark scores with intervals over questions, and paired differences to the baseline.

Errors follow Miller, arXiv:2411.00640: the questions are the sample, the seeds of one variant
answer the same questions, so scores are averaged over seeds within a question first and the
question is the cluster; two variants are compared by their difference within each question. What
other seeds would give is not in these intervals: `seed_sd` shows it where there are seeds.
"""

import math

import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import t_interval
from attnres_eval.analysis.questions import ACCURACY, question_scores, shown_metrics
from attnres_eval.records import TaskRecord

COLUMNS = [
    "task",
    "variant",
    "size",
    "metric",
    "n_questions",
    "limit",
    "num_fewshot",
    "n_seeds",
    "score",
    "ci_low",
    "ci_high",
    "seed_sd",
    "chance",
    "differs_from_chance",
    "difference",
    "difference_low",
    "difference_high",
    "differs_from_baseline",
]


def benchmarks_table(results: Results) -> pd.DataFrame:
    """One row a task, size, variant and metric.

    `differs_*` are true or false where there is an interval to judge by, missing otherwise. The
    differences to the baseline are over the seeds that both have.
    """
    study, runs = results.study, results.finished
    tasks = dict.fromkeys(
        record.task for run in runs["run"] for record in results.tasks.get(run, [])
    )
    rows = []
    for task in tasks:
        for size in study.sizes:
            by_label = {label: _records(results, task, size, label) for label in study.variants}
            base = by_label[study.baseline]
            for label, records in by_label.items():
                if records:
                    other = {} if label == study.baseline else base
                    rows += _rows(task, size, label, records, other)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(limit=frame["limit"].astype("Int64"))


def _records(results: Results, task: str, size: str, label: str) -> dict[int, TaskRecord]:
    """The task's record by seed."""
    runs = results.finished
    part = runs[(runs["size"] == size) & (runs["label"] == label)]
    return {
        int(seed): record
        for run, seed in zip(part["run"], part["seed"], strict=True)
        for record in results.tasks.get(run, [])
        if record.task == task and record.questions
    }


def _rows(
    task: str,
    size: str,
    label: str,
    records: dict[int, TaskRecord],
    base: dict[int, TaskRecord],
) -> list[dict[str, object]]:
    first = next(iter(records.values()))
    scores = {seed: question_scores(record) for seed, record in records.items()}
    base_scores = {seed: question_scores(base[seed]) for seed in records if seed in base}
    rows = []
    for metric in shown_metrics(first):
        by_question = _by_question(scores, metric)
        interval = t_interval(by_question.mean(axis=1))
        seed_means = by_question.mean(axis=0)
        accuracy = metric in ACCURACY and first.chance is not None
        row: dict[str, object] = {
            "task": task,
            "variant": label,
            "size": size,
            "metric": metric,
            "n_questions": len(by_question),
            "limit": first.limit,
            "num_fewshot": first.num_fewshot,
            "n_seeds": len(scores),
            "score": float(seed_means.mean()),
            "ci_low": interval.low,
            "ci_high": interval.high,
            "seed_sd": float(seed_means.std(ddof=1)) if len(scores) > 1 else math.nan,
            "chance": first.chance if accuracy else math.nan,
            "differs_from_chance": (
                not interval.contains(float(first.chance or 0))
                if accuracy and interval.exists
                else None
            ),
        }
        if base_scores:
            ours = _by_question({seed: scores[seed] for seed in base_scores}, metric)
            theirs = _by_question(base_scores, metric)
            difference = (ours.mean(axis=1) - theirs.mean(axis=1)).dropna()
            paired = t_interval(difference)
            row["difference"] = float(difference.mean())
            row["difference_low"], row["difference_high"] = paired
            row["differs_from_baseline"] = not paired.contains(0.0) if paired.exists else None
        rows.append(row)
    return rows


def _by_question(scores: dict[int, pd.DataFrame], metric: str) -> pd.DataFrame:
    """Questions that every seed answered (rows) by seeds (columns)."""
    columns = {seed: frame[metric] for seed, frame in scores.items()}
    return pd.DataFrame(columns).dropna()
