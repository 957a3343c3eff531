"""Per-question scores from task records: one number a question, run and metric."""

import math
from collections import Counter

import numpy as np
import pandas as pd

from attnres_eval.records import GeneratedRecord, QuestionRecord, TaskRecord

ACCURACY = ("acc", "acc_norm", "acc_bytes")
"""Metrics that guessing has a chance level for."""
GOLD_BITS = "gold_bits_per_byte"
"""Bits per byte of the right choice: lower is better, and finer than right or wrong."""


def metrics_of(question: QuestionRecord | GeneratedRecord) -> dict[str, float]:
    """All scores of one question.

    For a multiple-choice question: `acc`, the most likely choice is right; `acc_norm`, likeliest
    per byte (lm-eval's acc_norm divides by characters and its acc_bytes by bytes: the same where
    choices are ASCII); and bits per byte of the right choice. Of equal choices the first counts,
    as in lm-eval.
    """
    if isinstance(question, GeneratedRecord):
        return dict(question.scores)
    likelihoods = np.asarray(question.log_likelihoods, dtype=np.float64)
    lengths = np.asarray(question.byte_lengths, dtype=np.float64)
    scores = {"acc": float(np.argmax(likelihoods) == question.gold)}
    if lengths.min() > 0:
        scores["acc_norm"] = float(np.argmax(likelihoods / lengths) == question.gold)
        gold_nats = -likelihoods[question.gold]
        scores[GOLD_BITS] = float(gold_nats / math.log(2) / lengths[question.gold])
    return scores


def shown_metrics(record: TaskRecord) -> list[str]:
    """What a task's table shows: lm-eval's own accuracies or scores, then bits per byte.

    Where all choices are equally long, as with letters, acc_norm repeats acc and lm-eval leaves
    it out.
    """
    if record.questions and isinstance(record.questions[0], QuestionRecord):
        own = [name for name in ("acc", "acc_norm") if name in record.metrics] or ["acc"]
        return [*own, GOLD_BITS]
    first = record.questions[0] if record.questions else None
    return sorted(first.scores) if isinstance(first, GeneratedRecord) else []


def question_scores(record: TaskRecord) -> pd.DataFrame:
    """Scores of one task record.

    Returns:
        One row a question, a column a metric, indexed by the question's hash and by how many
        questions of the same hash came before it.
    """
    seen: Counter[str] = Counter()
    keys, rows = [], []
    for question in record.questions:
        keys.append((question.question_sha256, seen[question.question_sha256]))
        seen[question.question_sha256] += 1
        rows.append(metrics_of(question))
    index = pd.MultiIndex.from_tuples(keys, names=["question", "occurrence"])
    return pd.DataFrame(rows, index=index)
