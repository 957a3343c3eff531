import math

import numpy as np
import pytest

from attnres_eval.analysis.questions import (
    GOLD_BITS,
    metrics_of,
    question_scores,
    shown_metrics,
)
from attnres_eval.records import GeneratedRecord, QuestionRecord, TaskRecord


def question(gold: int, likelihoods: list[float], lengths: list[int]) -> QuestionRecord:
    return QuestionRecord(
        question_sha256="q", gold=gold, log_likelihoods=likelihoods, byte_lengths=lengths
    )


def task(questions: list[QuestionRecord | GeneratedRecord], **metrics: float) -> TaskRecord:
    return TaskRecord(
        task="t",
        task_version="1",
        lm_eval="0",
        num_fewshot=0,
        limit=None,
        n_questions=len(questions),
        model_sha256="m",
        backend="attnres",
        metrics=metrics,
        chance=0.5,
        questions=questions,
    )


def test_length_changes_the_answer() -> None:
    scores = metrics_of(question(1, [-10.0, -12.0], [5, 20]))
    assert scores["acc"] == 0
    assert scores["acc_norm"] == 1
    assert scores[GOLD_BITS] == pytest.approx(12 / math.log(2) / 20)


@pytest.mark.parametrize(("gold", "right"), [(0, 1.0), (1, 0.0), (2, 0.0)])
def test_of_equal_choices_the_first_counts_as_in_lm_eval(gold: int, right: float) -> None:
    scores = metrics_of(question(gold, [-3.0, -3.0, -3.0], [4, 4, 4]))
    assert scores["acc"] == right == float(np.argmax([-3.0, -3.0, -3.0]) == gold)
    assert scores["acc_norm"] == right


def test_empty_choices_have_no_score_per_byte() -> None:
    assert metrics_of(question(0, [-1.0, -2.0], [0, 3])) == {"acc": 1.0}


def test_generated_answers_keep_their_scores() -> None:
    record = GeneratedRecord(question_sha256="q", answer_sha256="a", scores={"exact_match": 1.0})
    assert metrics_of(record) == {"exact_match": 1.0}
    assert shown_metrics(task([record])) == ["exact_match"]


def test_shows_the_accuracies_that_lm_eval_gives() -> None:
    one = question(0, [-1.0, -2.0], [3, 3])
    assert shown_metrics(task([one], acc=1.0)) == ["acc", GOLD_BITS]
    assert shown_metrics(task([one], acc=1.0, acc_norm=1.0)) == ["acc", "acc_norm", GOLD_BITS]
    assert shown_metrics(task([])) == []


def test_equal_questions_stay_apart() -> None:
    frame = question_scores(task([question(0, [-1.0, -2.0], [3, 3])] * 2))
    assert list(frame.index) == [("q", 0), ("q", 1)]
