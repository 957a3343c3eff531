"""What the pages about tasks and checkpoints show, taken from them as it stands, works."""

import re
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from attnres_eval.evaluate import index as index_room
from attnres_eval.evaluate import listing
from attnres_eval.evaluate.command import evaluate_models

DOCS = Path(__file__).parents[2] / "docs"


def files_of(page: str) -> dict[str, str]:
    """Code blocks whose first line is a comment with a path, by that path."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^```\w+\n# (\S+/\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def parity(tmp_path: Path) -> Path:
    """The folder tasks/ with the page's example in it."""
    for name, text in files_of("adding_a_task.md").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / "tasks"


def test_the_example_task_is_listed(parity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_room, "bundled_folder", lambda _: parity)
    monkeypatch.setattr(listing, "SUITES", {})
    for cached in (index_room.own_index, index_room.index_of):
        cached.cache_clear()
    try:
        (row,) = listing.task_rows(None, None)
    finally:
        for cached in (index_room.own_index, index_room.index_of):
            cached.cache_clear()
    said = {key: row[key] for key in ("task", "chance", "questions", "availability")}
    assert said == {"task": "parity", "chance": 0.5, "questions": 64, "availability": "built in"}


def test_the_example_task_is_scored(
    parity: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnres_eval.evaluate import tasks

    manager = TaskManager(include_defaults=False, include_path=str(parity))
    monkeypatch.setattr(tasks, "task_index", lambda: manager)
    tasks._load_task.cache_clear()
    rows = evaluate_models([str(llama)], ["parity"])
    scores = {row["metric"]: row for row in rows}
    assert scores["acc"]["n"] == 64
    assert scores["acc"]["chance"] == 0.5
    assert scores["gold_bits_per_byte"]["value"] > 0


@pytest.mark.usefixtures("local_tasks")
def test_the_comparison_of_two_checkpoints(
    ours: Path, llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "scoring_a_checkpoint.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert code.count('"MINE"') == code.count('"BASELINE"') == 1
    code = code.replace('"MINE"', repr(str(ours))).replace('"BASELINE"', repr(str(llama)))
    exec(code.replace("arc_easy", "local_pairs"), {})
    first, second, third = capsys.readouterr().out.splitlines()[-3:]
    # Two tiny models may answer alike, and then there is no interval.
    assert first.startswith("acc: ")
    number = r"[+-]\d+\.\d{4}"
    bits = rf"gold_bits_per_byte: {number} \({number} to {number}\), p = \S+"
    assert re.fullmatch(bits, second)
    assert third.startswith("McNemar(only_first=")
