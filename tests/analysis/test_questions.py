import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fabricate import make_study

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.questions import (
    ANSWER_COLUMNS,
    FINE,
    GOLD_BITS,
    GOLD_PROBABILITY,
    MARGIN,
    answers,
    scores_of,
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


def values(record: QuestionRecord | GeneratedRecord) -> dict[str, float]:
    return {name: score.value for name, score in scores_of(record).items()}


def test_length_changes_the_answer() -> None:
    scores = values(question(1, [-10.0, -12.0], [5, 20]))
    assert scores["acc"] == 0
    assert scores["acc_norm"] == 1
    assert scores[GOLD_BITS] == pytest.approx(12 / math.log(2) / 20)
    assert scores[GOLD_PROBABILITY] == pytest.approx(1 / (1 + math.exp(2)))
    assert scores[MARGIN] == pytest.approx(-2)


@pytest.mark.parametrize(("gold", "right"), [(0, 1.0), (1, 0.0), (2, 0.0)])
def test_of_equal_choices_the_first_counts_as_in_lm_eval(gold: int, right: float) -> None:
    scores = values(question(gold, [-3.0, -3.0, -3.0], [4, 4, 4]))
    assert scores["acc"] == right == float(np.argmax([-3.0, -3.0, -3.0]) == gold)
    assert scores["acc_norm"] == right
    assert scores[MARGIN] == 0
    assert scores[GOLD_PROBABILITY] == pytest.approx(1 / 3)


@pytest.mark.parametrize("gold", [0, 1, 2])
def test_margin_is_to_the_best_wrong_choice(gold: int) -> None:
    likelihoods = [-5.0, -1.0, -2.0]
    wrong = max(value for place, value in enumerate(likelihoods) if place != gold)
    found = values(question(gold, likelihoods, [1, 1, 1]))[MARGIN]
    assert found == pytest.approx(likelihoods[gold] - wrong)


def test_chance_draws_the_right_choice() -> None:
    """Against the definition: the mean of each score over all right choices there could be."""
    likelihoods, lengths = [-7.0, -2.5, -4.0, -4.5], [3, 9, 2, 5]
    each = [values(question(gold, likelihoods, lengths)) for gold in range(4)]
    for name, score in scores_of(question(2, likelihoods, lengths)).items():
        assert score.chance == pytest.approx(np.mean([scores[name] for scores in each]))
    for name in ("acc", "acc_norm", GOLD_PROBABILITY):
        assert scores_of(question(2, likelihoods, lengths))[name].chance == pytest.approx(0.25)


def test_empty_choices_have_no_score_per_byte() -> None:
    scores = values(question(0, [-1.0, -2.0], [0, 3]))
    assert set(scores) == {"acc", GOLD_PROBABILITY, MARGIN}


def test_generated_answers_keep_their_scores() -> None:
    record = GeneratedRecord(question_sha256="q", answer_sha256="a", scores={"exact_match": 1.0})
    assert values(record) == {"exact_match": 1.0}
    assert math.isnan(scores_of(record)["exact_match"].chance)
    assert shown_metrics(task([record])) == ["exact_match"]


def test_shows_the_accuracies_that_lm_eval_gives() -> None:
    one = question(0, [-1.0, -2.0], [3, 3])
    assert shown_metrics(task([one], acc=1.0)) == ["acc", *FINE]
    assert shown_metrics(task([one], acc=1.0, acc_norm=1.0)) == ["acc", "acc_norm", *FINE]
    assert shown_metrics(task([])) == []


def test_answers_are_a_row_a_question_run_and_metric(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated())
    frame = answers(results)
    assert tuple(frame.columns) == ANSWER_COLUMNS
    assert len(frame) == 3 * 3 * 60 * 4
    assert not frame.duplicated(["task", "size", "variant", "seed", "question", "metric"]).any()


def test_equal_questions_stay_apart(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated(study=make_study(seeds=[0], labels=["prenorm"])))
    run = "prenorm-d64-s0"
    record = results.tasks[run][0]
    results.tasks[run] = [record.model_copy(update={"questions": record.questions[:1] * 2})]
    frame = answers(results)
    assert list(frame.groupby("occurrence").size()) == [4, 4]
    assert frame["cluster"].nunique() == 2
