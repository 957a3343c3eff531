"""Exponents out of costs whose power is known, and rows of a ladder that is measured small."""

from dataclasses import replace

import numpy as np
import pytest

from attnres_eval.bench.exponents import fit_power
from attnres_eval.bench.growth import (
    counted_exponent,
    own_power,
    rows_of,
    time_growth,
)
from attnres_eval.bench.ladders import LADDERS, Setting
from attnres_eval.bench.names import LESS, TIME, points_of

X = np.array([4.0, 8, 16, 32, 64])


@pytest.mark.parametrize("power", [0.0, 1.0, 1.7, 2.0])
def test_an_exact_power_is_found(power: float) -> None:
    found = fit_power(X, np.tile((3 * X**power)[:, None], (1, 5)))
    assert found is not None
    assert found.exponent == pytest.approx(power)
    assert found.low == pytest.approx(power)
    assert found.high == pytest.approx(power)


def test_the_interval_holds_the_power_behind_noise() -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.2, (5, 15))
    found = fit_power(X, X[:, None] ** 2 * noise)
    assert found is not None
    assert found.low < 2 < found.high
    assert found.high - found.low < 0.4


def test_what_is_lost_in_noise_has_no_exponent() -> None:
    assert fit_power(X, np.tile([[-1.0], [0.0], [-2.0], [1.0], [2.0]], (1, 3))) is None


def test_the_own_part_is_what_exceeds_prenorm() -> None:
    depth = LADDERS[0]
    plain = 100 * X[:, None] * np.ones((1, 3))
    series = {"prenorm": plain, "full_attnres": plain + X[:, None] ** 2, "block_attnres": plain}
    power = own_power(depth, series, "full_attnres")
    assert power is not None
    assert power.exponent == pytest.approx(2)
    assert own_power(depth, series, "block_attnres") is None
    rows = rows_of(depth, TIME, series, "fp32", 3)
    (full,) = [
        row for row in rows if row.quantity.startswith("exponent") and "full" in row.quantity
    ]
    assert full.value == pytest.approx(2)
    assert "theory 2" in str(full.note)
    own = [row for row in rows if row.quantity == points_of(f"{TIME} {LESS}", depth)]
    assert {row.at for row in own if row.variant == "full_attnres"} == set(X)


@pytest.mark.parametrize("ladder", LADDERS, ids=lambda ladder: ladder.name)
def test_counted_work_grows_about_as_theory_says(ladder: object) -> None:
    for variant, power in ladder.theory.items():  # type: ignore[attr-defined]
        assert counted_exponent(ladder, variant) == pytest.approx(power, abs=0.5)  # type: ignore[arg-type]


def test_a_small_ladder_is_measured() -> None:
    small = replace(
        LADDERS[0],
        points=(4, 5),
        setting=lambda n_layers: Setting(f"d16x{n_layers}", 8, 16, {}),
    )
    series = time_growth(small, "fp32", 2)
    assert set(series) == {"prenorm", "block_attnres", "full_attnres"}
    assert all(values.shape == (2, 2) and (values > 0).all() for values in series.values())
