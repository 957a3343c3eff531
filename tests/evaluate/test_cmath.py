"""Our task `cmath` on made-up questions: prompt, score, and where its data may lie."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from attnres_eval.errors import UserError
from attnres_eval.evaluate.tasks import load_task

QUESTIONS = [
    {"question": "小明有3个苹果，又买了4个，一共有几个？", "golden": "7", "grade": 1},
    {"question": "1米的绳子剪成4段，每段几米？", "golden": 0.25, "grade": 3},
]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    file = tmp_path / "cmath" / "cmath_test.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    return tmp_path


@pytest.mark.parametrize(
    ("golden", "response", "right"),
    [
        ("7", "3+4=7。答案是7。", True),
        ("7", "3+4=8。答案是8。", False),
        ("7", "答案是7个。3+4=12", True),
        ("7", "答案是：7", True),
        ("7", "有7个", True),
        ("7", "先有7个，后来有8个", False),
        ("7", "", False),
        ("7", "答案是不知道", False),
        ("1200", "答案是1,200。", True),
        ("0.25", "答案是1/4。", True),
        ("0.25", "答案是4分之1。", True),
        ("1/4", "答案是$\\frac{1}{4}$。", True),
        ("25%", "答案是0.25。", True),
        ("3.14", "答案是3.15。", True),
        ("3.14", "答案是3.2。", False),
        ("314", "答案是315。", False),
        ("0", "答案是1/0。", False),
        ("-2", "答案是-2。", True),
    ],
)
def test_scores(golden: str, response: str, right: bool, data_dir: Path) -> None:
    (task,) = load_task("cmath", None, data_dir).task_dict["tasks"].values()
    result = task.config.process_results({"golden": golden}, [response])
    assert result == {"exact_match": float(right)}


def test_a_worked_example_scores_itself(data_dir: Path) -> None:
    (task,) = load_task("cmath", None, data_dir).task_dict["tasks"].values()
    examples = task.config.fewshot_config.samples()
    assert len(examples) == 3
    for example, number in zip(examples, ("86", "1.2", "135"), strict=True):
        result = task.config.process_results({"golden": number}, [example["worked"]])
        assert result["exact_match"] == 1
        assert not any(example["question"] == question["question"] for question in QUESTIONS)
    assert Fraction("1.2") * 6 == Fraction("7.2")


def test_prompt(data_dir: Path) -> None:
    (task,) = load_task("cmath", None, data_dir).task_dict["tasks"].values()
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    prompt, arguments = task.instances[0].args
    assert prompt.endswith("答案是135。\n\n问题：小明有3个苹果，又买了4个，一共有几个？\n答案：")
    assert prompt.count("问题：") == 4
    assert prompt.startswith("问题：果园里")
    assert arguments["until"] == ["\n\n", "问题："]


def test_zero_worked_examples(data_dir: Path) -> None:
    (task,) = load_task("cmath", 0, data_dir).task_dict["tasks"].values()
    task.build_all_requests(limit=1)
    assert task.instances[0].args[0].count("问题：") == 1


def test_a_line_without_an_answer(tmp_path: Path) -> None:
    (tmp_path / "cmath").mkdir()
    (tmp_path / "cmath" / "cmath_test.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(UserError, match=r"cmath_test\.jsonl: cannot be read \(KeyError"):
        load_task("cmath", None, tmp_path)


def test_nowhere() -> None:
    with pytest.raises(UserError, match=r"weitianwen/cmath .* put cmath/cmath_test\.jsonl into"):
        load_task("cmath", None, None)
