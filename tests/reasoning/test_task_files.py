"""The folder tasks/reasoning is what its families write, and lm-eval reads it."""

from pathlib import Path

import pytest

from attnres_eval.evaluate.tasks import load_task
from attnres_eval.reasoning import FAMILIES
from attnres_eval.reasoning.__main__ import main
from attnres_eval.reasoning.stream import evaluation_items
from attnres_eval.reasoning.task_files import task_files

FOLDER = Path(__file__).parents[2] / "tasks" / "reasoning"


def test_the_folder_is_written_by_the_families() -> None:
    files = task_files()
    assert {path.name for path in FOLDER.glob("*") if path.is_file()} == {*files, "utils.py"}
    for name, text in files.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run the module again"


def test_writing_removes_what_is_old(tmp_path: Path) -> None:
    (tmp_path / "reasoning_gone_k1.yaml").write_text("task: gone\n")
    (tmp_path / "notes.txt").write_text("kept")
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*task_files(), "notes.txt"}


def test_choice_tasks_ask_what_the_family_asks() -> None:
    family = FAMILIES["s5"]
    task = load_task("reasoning_s5_k6", None, None).task_dict["tasks"]["reasoning_s5_k6"]
    docs = list(task.test_docs())
    items = evaluation_items(family, 6)
    assert len(docs) == len(items)
    assert task.doc_to_text(docs[3]) == items[3].prompt
    assert task.doc_to_choice(docs[3]) == list(items[3].choices)
    assert task.doc_to_target(docs[3]) == items[3].gold
    assert task.config.target_delimiter == " "


@pytest.mark.parametrize(
    ("response", "right"), [("{}", 1.0), (" {} and more", 1.0), ("no", 0.0), ("", 0.0)]
)
def test_generated_answers_are_compared_by_symbol(response: str, right: float) -> None:
    task = load_task("reasoning_brevo_k2_gen", None, None).task_dict["tasks"][
        "reasoning_brevo_k2_gen"
    ]
    doc = next(iter(task.test_docs()))
    answer = doc["choices"][doc["gold"]]
    assert task.doc_to_target(doc) == answer
    scored = task.process_results(doc, [response.format(answer)])
    assert scored == {"exact_match": right}


def test_groups_hold_their_steps() -> None:
    loaded = load_task("reasoning_mano", None, None).task_dict
    assert set(loaded["tasks"]) == {f"reasoning_mano_k{k}" for k in FAMILIES["mano"].steps}
