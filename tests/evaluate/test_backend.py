"""The attnres backend gives what lm-eval's own backend gives."""

from pathlib import Path

import pytest
from lm_eval.models.huggingface import HFLM

from attnres_eval.errors import UserError
from attnres_eval.evaluate.backend import AttnResLM
from attnres_eval.evaluate.models import load_model
from attnres_eval.evaluate.run import evaluate, score
from attnres_eval.evaluate.tasks import load_task
from attnres_eval.records import QuestionRecord, TaskRecord

TOLERANCE = 1e-4


@pytest.fixture(params=["llama", "ours"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    folder = request.getfixturevalue(request.param)
    assert isinstance(folder, Path)
    return folder


def log_likelihoods(record: TaskRecord) -> list[float]:
    return [
        value
        for question in record.questions
        if isinstance(question, QuestionRecord)
        for value in question.log_likelihoods
    ]


def assert_same(ours: list[TaskRecord], theirs: list[TaskRecord]) -> None:
    assert [record.task for record in ours] == [record.task for record in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.metrics.keys() == other.metrics.keys()
        values = log_likelihoods(one)
        assert values == pytest.approx(log_likelihoods(other), abs=TOLERANCE)
        # A parity of constants would prove nothing.
        assert len(set(values)) > len(values) / 2


def test_multiple_choice(checkpoint: Path, local_tasks: None) -> None:
    ours = evaluate(checkpoint, ["local_pairs"], batch_size=5)
    assert_same(ours, evaluate(checkpoint, ["local_pairs"], backend="hf", batch_size=3))
    assert len(log_likelihoods(ours[0])) == 36


def test_packaged_tasks_longer_than_the_context(checkpoint: Path, package: Path) -> None:
    names = ["arc_easy", "winogrande", "mmlu_anatomy"]
    ours = evaluate(checkpoint, names, limit=6, batch_size=7)
    assert_same(ours, evaluate(checkpoint, names, limit=6, batch_size=1, backend="hf"))


def test_batch_size_does_not_matter(checkpoint: Path, local_tasks: None) -> None:
    assert_same(
        evaluate(checkpoint, ["local_pairs"], batch_size=1),
        evaluate(checkpoint, ["local_pairs"], batch_size=64),
    )


def test_generation(checkpoint: Path, local_tasks: None) -> None:
    model = load_model(checkpoint, device="cpu")
    task = load_task("local_words", None, None)
    answers = []
    for lm in (
        AttnResLM(model, batch_size=4),
        HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=1),
    ):
        samples = score(task, None, lm)["samples"]["local_words"]
        answers.append([sample["resps"][0][0] for sample in samples])
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 1


def test_rolling(checkpoint: Path, local_tasks: None) -> None:
    ours, theirs = (
        evaluate(checkpoint, ["local_text"], backend=backend)[0].metrics["bits_per_byte"]
        for backend in ("attnres", "hf")
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_bf16_is_close_and_not_equal(checkpoint: Path, local_tasks: None) -> None:
    exact = log_likelihoods(evaluate(checkpoint, ["local_pairs"])[0])
    rounded = log_likelihoods(evaluate(checkpoint, ["local_pairs"], precision="bf16")[0])
    assert rounded == pytest.approx(exact, rel=0.05)
    assert rounded != exact


def test_choice_longer_than_the_context(llama: Path) -> None:
    lm = AttnResLM(load_model(llama, device="cpu"), max_length=4)
    with pytest.raises(UserError, match="does not fit"):
        lm._loglikelihood_tokens([(None, [1], [2, 3, 4, 5, 6])])
    ((cut, _),) = lm._loglikelihood_tokens([(None, [9, 8, 7, 1], [2, 3])])
    ((whole, _),) = lm._loglikelihood_tokens([(None, [8, 7, 1], [2, 3])])
    assert cut == whole
    assert (lm.cut, lm.scored) == (1, 3)


@pytest.mark.parametrize("size", [0, "auto"])
def test_bad_batch_size(llama: Path, size: int | str) -> None:
    with pytest.raises(UserError, match="batch size"):
        AttnResLM(str(llama), batch_size=size)
