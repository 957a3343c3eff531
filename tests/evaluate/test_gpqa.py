"""GPQA: one order of choices for everyone, and no word of it anywhere."""

import copy
import csv
import io
import logging
import random
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from lm_eval.api.model import LM

from attnres_eval.evaluate.folder import _GPQA_PASSWORD
from attnres_eval.evaluate.run import evaluate, score
from attnres_eval.evaluate.tasks import load_task

DIAMOND = "gpqa_diamond_zeroshot"


class Oracle(LM):  # type: ignore[misc]
    """Knows the answer that stood beside the question when the request was built."""

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        # As a model that samples would, between building requests and scoring them.
        random.random()
        right = [request.args[1].strip() == request.doc["answer"] for request in requests]
        return [(0.0 if hit else -9.0, hit) for hit in right]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        raise AssertionError("not asked for")

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        raise AssertionError("not asked for")


@pytest.mark.parametrize("name", [DIAMOND, "gpqa_main_zeroshot", "gpqa_diamond_n_shot"])
def test_an_oracle_scores_everything(name: str, benchmarks: Path) -> None:
    result = score(load_task(name, None, benchmarks), None, Oracle())
    assert result["results"][name]["acc,none"] == 1.0
    assert result["n-samples"][name]["effective"] == {"d": 198, "m": 448}[name[5]]


def test_the_oracle_fails_without_the_seeds(benchmarks: Path) -> None:
    loaded = copy.copy(load_task(DIAMOND, None, benchmarks))
    task = copy.copy(loaded.task_dict["tasks"][DIAMOND])
    task._config = copy.copy(task.config)
    seeded = task.config.process_docs
    closure = dict(zip(seeded.__code__.co_freevars, seeded.__closure__, strict=True))
    task.config.process_docs = closure["process_docs"].cell_contents
    unseeded = type(loaded)(DIAMOND, {"tasks": {DIAMOND: task}}, loaded.private)
    assert score(unseeded, None, Oracle())["results"][DIAMOND]["acc,none"] < 0.5


def test_the_generator_is_put_back(benchmarks: Path) -> None:
    task = load_task(DIAMOND, None, benchmarks).task_dict["tasks"][DIAMOND]
    random.seed(5)
    before = random.getstate()
    first = [(doc["choice1"], doc["answer"]) for doc in task.eval_docs]
    assert random.getstate() == before
    random.seed(6)
    assert [(doc["choice1"], doc["answer"]) for doc in task.eval_docs] == first
    assert len({answer for _, answer in first}) == 4


def test_one_order_for_all_models_and_task_orders(
    benchmarks: Path, package: Path, llama: Path, ours: Path
) -> None:
    first = evaluate(llama, [DIAMOND, "copa"], limit=6, data_dir=benchmarks)
    second = evaluate(ours, ["copa", DIAMOND], limit=6, data_dir=benchmarks, backend="hf")
    questions = [
        {record.task: [(q.question_sha256, q.gold) for q in record.questions] for record in records}  # type: ignore[union-attr]
        for records in (first, second)
    ]
    assert questions[0] == questions[1]
    assert first[0].metrics != second[1].metrics or first[0].questions != second[1].questions


def passages(benchmarks: Path) -> list[bytes]:
    """Thirty characters from the middle of the first questions, and from their answers."""
    with zipfile.ZipFile(benchmarks / "gpqa" / "dataset.zip") as files:
        text = files.read("dataset/gpqa_diamond.csv", pwd=_GPQA_PASSWORD).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))[:4]
    cells = [row[key] for row in rows for key in ("Question", "Correct Answer", "Explanation")]
    middles = [cell[len(cell) // 3 :][:30].split("\n")[0].strip() for cell in cells]
    return [middle.encode() for middle in middles if len(middle) > 15]


def test_no_text_reaches_disk_or_logs(
    benchmarks: Path,
    package: Path,
    llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "temporary").mkdir()
    caplog.set_level(logging.DEBUG)
    load_task.__globals__["_load_task"].cache_clear()
    evaluate(
        llama,
        [DIAMOND, "arc_easy"],
        limit=4,
        data_dir=benchmarks,
        output_path=tmp_path / "out",
        records=tmp_path / "records",
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = [path.name for path in files]
    assert any(name.startswith("samples_arc_easy") for name in names)
    assert any(name.startswith("results_") for name in names)
    assert not any(name.startswith("samples_gpqa") for name in names)
    assert f"{DIAMOND}.json" in names

    captured = capfd.readouterr()
    everything = b"\n".join(path.read_bytes() for path in files)
    everything += (captured.out + captured.err + caplog.text).encode()
    hidden = passages(benchmarks)
    assert len(hidden) >= 6
    assert [text for text in hidden if text in everything] == []

    # The same search finds what is there: ARC's samples hold their questions.
    (arc,) = load_task("arc_easy", None, benchmarks).task_dict["tasks"].values()
    assert arc.eval_docs[0]["question"][10:40].encode() in everything
