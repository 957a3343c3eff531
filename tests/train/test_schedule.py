import itertools

import pytest

from attnres_eval.study import Recipe
from attnres_eval.train.schedule import rate_factor


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_warms_up_to_the_peak_and_ends_at_the_floor(schedule: str) -> None:
    recipe = Recipe.model_validate({"schedule": schedule})
    factors = [rate_factor(step, 200, recipe) for step in range(200)]
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(0.1)
    assert all(late <= early for early, late in itertools.pairwise(factors[10:]))


def test_cosine_is_halfway_in_the_middle() -> None:
    recipe = Recipe(warmup_fraction=0.0, final_fraction=0.0)
    assert rate_factor(51, 102, recipe) == pytest.approx(0.5, abs=0.01)


def test_wsd_is_flat_and_then_linear() -> None:
    recipe = Recipe(schedule="wsd", final_fraction=0.0, decay_fraction=0.2)
    factors = [rate_factor(step, 100, recipe) for step in range(100)]
    assert set(factors[5:80]) == {1.0}
    assert factors[89] == pytest.approx(0.5)
    assert factors[99] == 0.0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_shortest_runs_have_a_rate(steps: int) -> None:
    assert all(0 < rate_factor(step, steps, Recipe()) <= 1 for step in range(steps))
