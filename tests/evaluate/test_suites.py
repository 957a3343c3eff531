"""Suites: what is in them, that it can be had where the list says so, and runs of them."""

import gzip
import json
import os
import re
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from lm_eval.api.model import LM

from attnres_eval.errors import UserError
from attnres_eval.evaluate import run, sources, suites, tasks
from attnres_eval.evaluate.availability import availability
from attnres_eval.evaluate.command import evaluate_suite
from attnres_eval.evaluate.index import index_of, leaves
from attnres_eval.evaluate.sources import Needs, Sources
from attnres_eval.evaluate.suites import PAPER, SMALL, SUITES, Row, suite
from attnres_eval.evaluate.tasks import code_allowed, load_task, task_availability, task_index
from attnres_eval.reference.paper import questions, table3
from attnres_eval.study import Task

ROWS = {f"{name}-{row.title}": row for name, rows in SUITES.items() for row in rows}
OFFLINE = {"arc_challenge", "arc_easy", "commonsense_qa", "hellaswag", "mmlu", "mmlu_continuation"}
OFFLINE |= {"piqa", "social_iqa"}
IN_FOLDER = {"bbh", "gpqa_diamond_zeroshot"}


def test_the_papers_rows() -> None:
    assert [row.title for row in PAPER] == list(table3()["task"])
    sizes = dict(zip(questions()["task"], questions()["questions"], strict=True))
    assert sizes.items() <= {row.title: row.questions for row in PAPER}.items()
    assert len({row.task for row in SMALL}) == 9


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_few_folders_say_what_the_whole_index_says(row: Row) -> None:
    part, whole = index_of(row.folders), task_index().task_index
    names = list(leaves(row.task, part))
    assert names
    assert names == list(leaves(row.task, whole))
    assert all(part[name].cfg == whole[name].cfg for name in names)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_numbers_of_worked_examples_are_lm_evals_where_it_fixes_one(row: Row) -> None:
    index = index_of(row.folders)
    configs = [index[name].cfg or {} for name in leaves(row.task, index)]
    fixed = {config["num_fewshot"] for config in configs if config.get("num_fewshot") is not None}
    assert fixed <= {row.shots}
    drawn = {Needs.of(config, row.shots).fewshot for config in configs}
    assert row.shots or drawn == {None}


def accuracy_of_guessing(docs: Any, choices: Any) -> float:
    return statistics.fmean(1 / len(choices(doc)) for doc in docs)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_list_and_the_loader_agree(row: Row, package: Path, benchmarks: Path) -> None:
    found = task_availability(row.task, row.shots, benchmarks, row.modules)
    if row.task in OFFLINE | IN_FOLDER:
        assert found.where == ("package" if row.task in OFFLINE else "data folder")
        assert found.lacks is None
        tasks = load_task(row.task, row.shots, benchmarks).task_dict["tasks"].values()
        assert sum(len(task.eval_docs) for task in tasks) == row.questions
        assert {task.get_config("num_fewshot") for task in tasks} == {row.shots}
        if all(task.OUTPUT_TYPE == "multiple_choice" for task in tasks):
            guesses = [(accuracy_of_guessing(t.eval_docs, t.doc_to_choice), t) for t in tasks]
            chance = sum(g * len(t.eval_docs) for g, t in guesses) / row.questions
            assert chance == pytest.approx(row.chance, abs=1e-4)
    else:
        assert found.where in ("hub", "missing")
        with pytest.raises(UserError) as caught:
            load_task(row.task, row.shots, benchmarks, allow_code=True)
        message = str(caught.value)
        assert "\n" not in message
        if found.where == "missing":
            assert "needs another package" in message
            assert "math_verify" in str(found.lacks)
        else:
            assert str(found.lacks).split("; so with")[0] in message


def test_chance_of_generated_answers_with_options(benchmarks: Path) -> None:
    chance = {row.title: row.chance for row in PAPER}
    with gzip.open(benchmarks / "mmlu_pro" / "mmlu_pro_test.jsonl.gz", "rt") as lines:
        pro = [len(json.loads(line)["options"]) for line in lines]
    assert statistics.fmean(1 / n for n in pro) == pytest.approx(chance["MMLU-Pro"], abs=1e-4)
    guesses = []
    for file in (benchmarks / "bbh").glob("*.json"):
        examples = json.loads(file.read_text())["examples"]
        answers = {example["target"] for example in examples}
        for example in examples:
            letters = set(re.findall(r"^\(([A-Z])\)", example["input"], re.MULTILINE))
            words = re.findall(r"^- \w", example["input"], re.MULTILINE)
            options = max(len(letters), len(words))
            if options < 2:
                # Yes and no, or free answers such as sorted words.
                options = len(answers) if len(answers) <= 3 else 0
            guesses.append(1 / options if options else 0.0)
    assert statistics.fmean(guesses) == pytest.approx(chance["BBH"], abs=1e-4)


def test_worked_examples_count(benchmarks: Path) -> None:
    assert task_availability("mmlu_pro", 5, benchmarks).where == "hub"
    assert "its worked examples" in str(task_availability("mmlu_pro", 5, benchmarks).lacks)
    assert task_availability("mmlu_pro", 0, benchmarks).where == "data folder"
    assert "mmlu_pro_test.jsonl.gz and mmlu_pro/mmlu_pro_validation" in str(
        task_availability("mmlu_pro", 5, None).lacks
    )
    assert task_availability("gpqa_diamond_zeroshot", 0, None).where == "missing"
    with pytest.raises(UserError, match="did you mean mmlu_pro"):
        task_availability("mmlu_pr", 5, None)


def test_groups_count_what_is_like_it() -> None:
    found = availability("cmmlu", 5, Sources(None), index_of(("cmmlu",)))
    assert (found.where, found.runs_code) == ("hub", False)
    assert str(found.lacks).endswith("; so with 66 more of its data sets")


def test_modules_that_are_not_installed_are_missing(package: Path) -> None:
    index = index_of(("arc",))
    found = availability("arc_easy", 0, Sources(None), index, ("math", "no_such_module"))
    assert found.where == "missing"
    assert "it imports no_such_module" in str(found.lacks)


def test_unknown_suite() -> None:
    with pytest.raises(UserError, match="did you mean paper"):
        suite("papers")
    with pytest.raises(UserError, match="there are paper and small"):
        suite("zzz")


def test_mgsm_has_one_score(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = [{"question": "?", "answer": "1 + 1", "answer_number": n} for n in range(8)]
    asked = [{"question": "?", "answer": None, "answer_number": n} for n in range(3)]

    def made_up(package: object, dataset: str, name: str | None) -> Any:
        assert dataset == "juletxara/mgsm"
        rows = {"train": worked, "test": asked}
        return {split: partial(Dataset.from_list, docs) for split, docs in rows.items()}

    monkeypatch.setattr(sources, "package_splits", made_up)
    monkeypatch.setattr(sources, "offline_folder", Path)
    tasks._load_task.cache_clear()
    try:
        result = run.score(load_task("mgsm_native_cot", 8, None), 3, SaysOne())["results"]
    finally:
        tasks._load_task.cache_clear()
    assert result["mgsm_native_cot"]["exact_match,flexible-extract"] == pytest.approx(1 / 3)
    assert len(result) == 12


class SaysOne(LM):  # type: ignore[misc]
    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return ["1" for _ in requests]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        raise AssertionError("not asked for")

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        raise AssertionError("not asked for")


LOCAL = (
    Row("Pairs", "local_pairs", 2, 1 / 3, 12, ()),
    Row("Words", "local_words", 0, 0.0, 9, ()),
    Row("Away", "local_away", 0, 0.5, 1, ()),
    Row("Code", "local_code", 0, 0.0, 9, ()),
    Row("Long", "local_long", 0, 0.0, 9, ()),
    Row("Package", "local_text", 0, 0.0, 3, (), ("no_such_module",)),
)


@pytest.fixture
def local_suite(local_tasks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(suites.SUITES, "local", LOCAL)
    monkeypatch.setitem(suites.SUITES, "nothing", LOCAL[2:4])
    monkeypatch.setitem(suites.SUITES, "too long", LOCAL[4:5])


def test_a_suite_is_scored_as_its_tasks_are(llama: Path, local_suite: None) -> None:
    lines: list[str] = []
    rows = evaluate_suite([str(llama)], "local", lines.append, limit=4)
    asked = {"local_pairs": Task(limit=4, num_fewshot=2), "local_words": Task(limit=4)}
    pairs, words = run.evaluate(llama, asked)
    assert [(row["task"], row["metric"]) for row in rows] == [
        ("local_pairs", "acc"),
        ("local_pairs", "gold_bits_per_byte"),
        ("local_words", "exact_match"),
    ]
    assert rows[0]["value"] == pairs.metrics["acc"]
    assert rows[2]["value"] == words.metrics["exact_match"]
    away, code, package, long = lines
    assert away.startswith("Away is missing: task local_away: nobody/absent is not at hand")
    assert away.endswith("cannot be reached: connect once, or leave this task out")
    assert code.startswith("Code is left out: task local_code runs code")
    assert "--confirm-run-unsafe-code" in code
    assert package.startswith("Package is missing: task local_text: it imports no_such_module")
    assert long.startswith(f"{llama} is not scored: task local_long generates up to 4096 tokens")


def test_consent_to_run_code(llama: Path, local_suite: None) -> None:
    lines: list[str] = []
    rows = evaluate_suite(
        [str(llama)], "local", lines.append, limit=2, confirm_run_unsafe_code=True
    )
    assert "local_code" in {row["task"] for row in rows}
    assert not any("runs code" in line for line in lines)
    # Consent holds for the call that it was given to.
    with pytest.raises(UserError, match="runs code"):
        run.evaluate(llama, ["local_code"], limit=2)


def test_consent_reaches_the_metric_that_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    with code_allowed(False):
        assert "HF_ALLOW_CODE_EVAL" not in os.environ
    with code_allowed(True):
        assert os.environ["HF_ALLOW_CODE_EVAL"] == "1"
    assert "HF_ALLOW_CODE_EVAL" not in os.environ
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "0")
    with code_allowed(True):
        assert os.environ["HF_ALLOW_CODE_EVAL"] == "1"
    assert os.environ["HF_ALLOW_CODE_EVAL"] == "0"


def test_ones_own_number_of_worked_examples(llama: Path, local_suite: None) -> None:
    seen = []

    def spy(model: Any, tasks: Any, **options: Any) -> list[Any]:
        seen.append(tasks)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attnres_eval.evaluate.command.evaluate", spy)
        with pytest.raises(UserError, match="nothing of it"):
            evaluate_suite([str(llama)], "local", lambda _: None, num_fewshot=1)
    assert seen[0]["local_pairs"] == Task(limit=None, num_fewshot=1)


@pytest.mark.parametrize("name", ["nothing", "too long"])
def test_a_suite_of_which_nothing_can_be_scored(name: str, llama: Path, local_suite: None) -> None:
    lines: list[str] = []
    with pytest.raises(UserError, match=f"suite {name}: nothing of it"):
        evaluate_suite([str(llama)], name, lines.append)
    assert lines
