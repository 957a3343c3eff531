"""Per-question scores from task records, each with what guessing would give."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from attnres_eval.analysis.collect import Results
from attnres_eval.analysis.intervals import Array
from attnres_eval.records import GeneratedRecord, QuestionRecord, TaskRecord

ACCURACY = ("acc_norm", "acc", "exact_match")
"""Shares of questions that are right; of several a task is judged by the first that it has."""
GOLD_BITS = "gold_bits_per_byte"
"""Bits per byte of the right choice: lower is better, and finer than right or wrong."""
GOLD_PROBABILITY = "gold_probability"
"""Likelihood of the right choice over the sum of all choices'."""
MARGIN = "margin"
"""Log-likelihood of the right choice minus that of the best wrong one, nats."""
SHARES = (*ACCURACY, GOLD_PROBABILITY)
"""Metrics that lie between 0 and 1."""
FINE = (GOLD_PROBABILITY, MARGIN, GOLD_BITS)
"""Scores of multiple choice that move before accuracy does."""


class Score(NamedTuple):
    """One metric of one question."""

    value: float
    chance: float
    """What it would be on average if the right choice were drawn among the choices; NaN where
    nothing is chosen."""


def scores_of(question: QuestionRecord | GeneratedRecord) -> dict[str, Score]:
    """All scores of one question.

    For a multiple-choice question: `acc`, the most likely choice is right; `acc_norm`, likeliest
    per byte (lm-eval's acc_norm divides by characters and its acc_bytes by bytes: the same where
    choices are ASCII); the right choice's probability among the choices, its margin and its bits
    per byte. Of equal choices the first counts, as in lm-eval.

    Chance levels keep the model's likelihoods and draw the right choice: 1 / n for accuracy and
    probability, the mean over the choices for the others.
    """
    if isinstance(question, GeneratedRecord):
        return {name: Score(value, math.nan) for name, value in question.scores.items()}
    likelihoods = np.asarray(question.log_likelihoods, dtype=np.float64)
    lengths = np.asarray(question.byte_lengths, dtype=np.float64)
    each = {
        "acc": _chosen(likelihoods),
        GOLD_PROBABILITY: np.exp(likelihoods - np.logaddexp.reduce(likelihoods)),
    }
    if lengths.min() > 0:
        each["acc_norm"] = _chosen(likelihoods / lengths)
        each[GOLD_BITS] = -likelihoods / math.log(2) / lengths
    if len(likelihoods) > 1:
        first, second = np.sort(likelihoods)[-1:-3:-1]
        # Of two equal best choices each has the margin 0.
        best_other = np.where(np.arange(len(likelihoods)) == likelihoods.argmax(), second, first)
        each[MARGIN] = likelihoods - best_other
    return {
        name: Score(float(values[question.gold]), float(values.mean()))
        for name, values in each.items()
    }


def _chosen(preference: Array) -> Array:
    """1 for the first of the most preferred choices, 0 for the others."""
    return np.asarray(np.arange(len(preference)) == np.argmax(preference), dtype=np.float64)


def shown_metrics(record: TaskRecord) -> list[str]:
    """What a task's table shows: lm-eval's own accuracies or scores, then the fine ones.

    Where all choices are equally long, as with letters, acc_norm repeats acc and lm-eval leaves
    it out.
    """
    if record.questions and isinstance(record.questions[0], QuestionRecord):
        own = [name for name in ("acc", "acc_norm") if name in record.metrics] or ["acc"]
        return [*own, *FINE]
    first = record.questions[0] if record.questions else None
    return sorted(first.scores) if isinstance(first, GeneratedRecord) else []


ANSWER_COLUMNS = (
    "task",
    "size",
    "variant",
    "seed",
    "question",
    "occurrence",
    "cluster",
    "metric",
    "value",
    "chance",
)


def answers(results: Results) -> pd.DataFrame:
    """Every shown score of every question of every finished run; columns as `ANSWER_COLUMNS`.

    `question` is the question's hash and `occurrence` says how many questions of the same hash
    came before it; `cluster` what it hangs together with, else the question itself.
    """
    columns: dict[str, list[object]] = {name: [] for name in ANSWER_COLUMNS}
    runs = results.finished
    for run, size, label, seed in zip(
        runs["run"], runs["size"], runs["label"], runs["seed"], strict=True
    ):
        for record in results.tasks.get(run, []):
            shown = shown_metrics(record)
            seen: Counter[str] = Counter()
            for question in record.questions:
                key, scores = question.question_sha256, scores_of(question)
                for metric in shown:
                    # A choice without bytes has no score per byte.
                    score = scores.get(metric)
                    if score is None:
                        continue
                    row = (record.task, size, label, int(seed), key, seen[key])
                    cluster = question.cluster or f"{key} {seen[key]}"
                    for name, value in zip(
                        ANSWER_COLUMNS, (*row, cluster, metric, *score), strict=True
                    ):
                        columns[name].append(value)
                seen[key] += 1
    return pd.DataFrame(columns)
