from pathlib import Path

import pandas as pd
import pytest

from attnres_eval.reference import paper


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("fits", paper.fits),
        ("table2_scaling", paper.table2),
        ("table3_downstream", paper.table3),
        ("table4_ablation", paper.table4),
    ],
)
def test_is_what_was_published(name: str, load: object, shared: Path) -> None:
    assert callable(load)
    pd.testing.assert_frame_equal(load(), pd.read_csv(shared / "paper" / f"{name}.csv"))


def test_every_number_of_questions_belongs_to_a_benchmark() -> None:
    questions = paper.questions().set_index("task")
    assert set(questions.index) <= set(paper.table3()["task"])
    assert questions.loc["GPQA-Diamond", "questions"] == 198
    others = questions.drop("GPQA-Diamond")
    assert others["basis"].str.startswith("assumed").all()
