from fabricate import make_study
from folders import line

from attnres_eval.watch.sparkline import ASCII, curves

CONFIG = make_study().run("prenorm", "d32", 0)


def test_one_scale_and_growing_with_the_run() -> None:
    own = [line(CONFIG, step, 5.0 - step, 1.0) for step in (1, 2, 3)]
    other = [line(CONFIG, step, 5.0 - step, 1.0) for step in (1, 2, 3, 4)]
    first, second = curves([own, other], 4, 4)
    assert second == "█▆▃▁"
    # At the same losses the same characters; what is to come is blank.
    assert first == second[:3] + " "


def test_a_character_is_a_mean() -> None:
    steps = [line(CONFIG, step, loss, 1.0) for step, loss in ((1, 4.0), (2, 2.0), (3, 1.0))]
    assert curves([steps], 4, 2, ASCII) == ["#_"]
    assert curves([steps, [line(CONFIG, 1, 5.0, 1.0)]], 4, 2, ASCII) == ["+_", "# "]


def test_nothing_and_flat() -> None:
    assert curves([[]], 10, 5) == ["     "]
    assert curves([[line(CONFIG, 1, 2.0, 1.0)]], 2, 2) == ["▁ "]
