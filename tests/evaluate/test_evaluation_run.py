"""Records, lm-eval's files, independence of tasks, and bad input."""

import json
import logging
import math
import statistics
import sys
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from attnres_eval.errors import UserError
from attnres_eval.evaluate import command, task_code, tasks
from attnres_eval.evaluate.command import evaluate_models, run_lm_eval
from attnres_eval.evaluate.run import Backend, evaluate
from attnres_eval.files import sha256_of_file, sha256_of_json
from attnres_eval.records import GeneratedRecord, QuestionRecord, TaskRecord, read_record
from attnres_eval.study import Task

TEXT = "sat on the mat"


def test_records(llama: Path, local_tasks: None, tmp_path: Path) -> None:
    asked = {"local_pairs": Task(limit=5, num_fewshot=2), "local_words": None}
    pairs, words = evaluate(llama, asked, records=tmp_path)
    assert read_record(tmp_path / "local_pairs.json", TaskRecord) == pairs
    assert (pairs.n_questions, pairs.limit, pairs.num_fewshot) == (5, 5, 2)
    assert (pairs.task_version, pairs.backend) == ("7", "attnres")
    assert pairs.chance == pytest.approx(1 / 3)
    assert pairs.model_sha256 == sha256_of_file(llama / "model.safetensors")
    assert {"acc", "acc_stderr"} == pairs.metrics.keys()

    questions = [q for q in pairs.questions if isinstance(q, QuestionRecord)]
    assert [q.gold for q in questions] == [0, 1, 2, 0, 1]
    assert questions[0].byte_lengths == [4, 12, 10]
    best = [q.log_likelihoods.index(max(q.log_likelihoods)) == q.gold for q in questions]
    assert pairs.metrics["acc"] == pytest.approx(sum(best) / 5)
    assert len({q.question_sha256 for q in questions}) == 5

    assert (words.n_questions, words.chance, words.limit) == (9, None, None)
    assert all(isinstance(q, GeneratedRecord) for q in words.questions)
    scores = [q.scores["exact_match"] for q in words.questions if isinstance(q, GeneratedRecord)]
    assert words.metrics["exact_match"] == pytest.approx(sum(scores) / 9)


def test_questions_on_one_passage_are_a_cluster(llama: Path, local_tasks: None) -> None:
    pairs, words = evaluate(llama, ["local_pairs", "local_words"])
    clusters = [question.cluster for question in pairs.questions]
    whole = "the cat sat on the mat and what is the answer to this question"
    assert clusters == [sha256_of_json(whole[n // 4 :]) for n in range(12)]
    assert {question.cluster for question in words.questions} == {None}


def test_group(llama: Path, local_tasks: None) -> None:
    pairs, text, group = evaluate(llama, ["local_group"], limit=3)
    assert group.subtasks == [pairs.task, text.task]
    assert group.metrics["acc"] == pairs.metrics["acc"]
    assert (group.questions, group.n_questions, group.chance) == ([], 6, None)


def test_records_hold_no_text_and_samples_do(
    llama: Path, local_tasks: None, tmp_path: Path
) -> None:
    evaluate(
        llama,
        ["local_pairs", "local_words", "local_group"],
        output_path=tmp_path / "out",
        records=tmp_path / "records",
    )
    records = [path.read_text() for path in (tmp_path / "records").iterdir()]
    assert len(records) == 4
    assert not any(TEXT in text for text in records)
    (results,) = (tmp_path / "out").rglob("results_*.json")
    samples = list((tmp_path / "out").rglob("samples_*.jsonl"))
    assert {path.name.split("_2")[0] for path in samples} == {
        "samples_local_pairs",
        "samples_local_words",
        "samples_local_text",
    }
    assert any(TEXT in path.read_text() for path in samples)
    values = json.loads(results.read_text())
    assert values["results"]["local_pairs"]["acc,none"] >= 0
    assert values["groups"].keys() == {"local_group"}
    assert values["n-samples"]["local_words"] == {"original": 9, "effective": 9}
    assert TEXT not in results.read_text()


def test_scores_do_not_depend_on_other_tasks(llama: Path, local_tasks: None) -> None:
    together = evaluate(llama, ["local_words", "local_text", "local_pairs"], num_fewshot=2)
    apart = [
        evaluate(llama, [name], num_fewshot=2)[0]
        for name in ("local_pairs", "local_text", "local_words")
    ]
    assert together == apart[::-1]
    (grouped, *_) = evaluate(llama, ["local_group"], num_fewshot=2)
    assert grouped == apart[0]


def test_rows(llama: Path, ours: Path, local_tasks: None) -> None:
    rows = evaluate_models([str(llama), str(ours)], ["local_pairs", " local_words"], limit=4)
    assert [(row["model"], row["task"], row["metric"]) for row in rows] == [
        (str(model), task, metric)
        for model in (llama, ours)
        for task, metric in (
            ("local_pairs", "acc"),
            ("local_pairs", "gold_bits_per_byte"),
            ("local_words", "exact_match"),
        )
    ]
    assert rows[0]["chance"] == pytest.approx(1 / 3)
    share = rows[0]["value"]
    assert rows[0]["stderr"] == pytest.approx(math.sqrt(share * (1 - share) / 3))
    assert rows[1]["chance"] is rows[2]["chance"] is None
    (record,) = evaluate(llama, ["local_pairs"], limit=4)
    bits = [
        -q.log_likelihoods[q.gold] / math.log(2) / q.byte_lengths[q.gold]
        for q in record.questions
        if isinstance(q, QuestionRecord)
    ]
    assert rows[1]["value"] == pytest.approx(statistics.fmean(bits))
    assert rows[1]["stderr"] == pytest.approx(statistics.stdev(bits) / 2)
    group = evaluate_models([str(llama)], ["local_group"], limit=4)
    assert [row["task"] for row in group] == ["local_group"]


def test_lm_evals_own_command(
    llama: Path,
    local_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "bundled_folder", lambda _: local_folder)
    monkeypatch.setattr(task_code, "bundled_folder", lambda _: local_folder)
    before = list(sys.argv)
    model = ["--model", "attnres", "--model_args", f"pretrained={llama}", "--device", "cpu"]
    output = ["--output_path", str(tmp_path)]
    run_lm_eval(["run", *model, "--tasks", "local_pairs", "--limit", "6", *output])
    assert "|local_pairs|" in capfd.readouterr().out
    (results,) = tmp_path.rglob("results_*.json")
    theirs = json.loads(results.read_text())["results"]["local_pairs"]["acc,none"]
    monkeypatch.setattr(tasks, "task_index", lambda: TaskManager(None, str(local_folder), False))
    assert evaluate(llama, ["local_pairs"], limit=6)[0].metrics["acc"] == theirs
    assert sys.argv == before


def bad(model: Path | str, tasks: list[str], **options: object) -> str:
    with pytest.raises(UserError) as caught:
        evaluate(model, tasks, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_bad_calls(llama: Path, local_tasks: None, tmp_path: Path) -> None:
    assert "attnres and hf" in bad(llama, ["local_pairs"], backend="vllm")
    assert "fp32 and bf16" in bad(llama, ["local_pairs"], precision="fp8")
    assert "no task is named" in bad(llama, [])
    assert "limit" in bad(llama, ["local_pairs"], limit=0)
    assert "did you mean local_pairs" in bad(llama, ["local_pear"])
    assert "context of 96" in bad(llama, ["local_long"])
    assert "runs code" in bad(llama, ["local_code"])
    file = tmp_path / "file"
    file.write_text("")
    assert "--output-path" in bad(llama, ["local_pairs"], output_path=file)


@pytest.mark.parametrize("backend", ["attnres", "hf"])
def test_cut_prompts_are_said_once(
    llama: Path, package: Path, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    evaluate(llama, ["mmlu_anatomy"], num_fewshot=5, limit=4, backend=backend)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "96" in caplog.text


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_checkpoint(
    ours: Path, local_tasks: None, tmp_path: Path, file: str, damage: str
) -> None:
    folder = copy_of(ours, tmp_path / "copy")
    content = (folder / file).read_bytes()
    if damage == "cut":
        (folder / file).write_bytes(content[: len(content) // 2])
    else:
        (folder / file).unlink()
    assert str(folder) in bad(folder, ["local_pairs"])


def test_weights_of_another_shape(ours: Path, local_tasks: None, tmp_path: Path) -> None:
    folder = copy_of(ours, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["n_layers"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    assert "weights are missing" in bad(folder, ["local_pairs"])


def test_no_such_model(local_tasks: None, tmp_path: Path) -> None:
    assert "no such file" in bad(tmp_path / "absent", ["local_pairs"])
    message = bad("nobody/absent", ["local_pairs"])
    assert "nobody/absent" in message
    assert "cannot be reached" in message
