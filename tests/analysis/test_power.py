"""What a design can see, against closed forms and the table's own definition."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.coverage import Noise
from attnres_eval.analysis.multiplier import FREE, PER_PAIR, SHARED
from attnres_eval.analysis.power import power_table, simulated
from attnres_eval.cli import app
from attnres_eval.errors import UserError

X = np.log(np.geomspace(1e12, 1e14, 4))
ALPHA = 0.1
DRAWS = 2000


def rows(noise: Noise, n_seeds: int, truth: float) -> dict[str, dict[str, Any]]:
    found = simulated(X, 3, ALPHA, noise, n_seeds, truth, DRAWS)
    return {str(row["model"]): row for row in found}


def test_without_an_effect_power_is_the_rate_of_false_alarms() -> None:
    by_model = rows(Noise(0.001, 0.01), 3, 1.0)
    for model in (SHARED, PER_PAIR):
        assert by_model[model]["power"] == pytest.approx(0.05, abs=0.02)
        assert by_model[model]["coverage"] == pytest.approx(0.95, abs=0.02)
        assert by_model[model]["power"] == pytest.approx(1 - by_model[model]["coverage"])


def test_power_is_that_of_students_test() -> None:
    own, n_seeds, truth = 0.004, 5, 1.1
    row = rows(Noise(own, 0.0), n_seeds, truth)[SHARED]
    # One seed's log M has this spread about its truth, since the exponent is known well.
    spread = math.sqrt(2 / len(X)) * own / ALPHA
    assert row["half_width"] == pytest.approx(
        math.expm1(
            stats.t.ppf(0.975, n_seeds - 1)
            * spread
            / math.sqrt(n_seeds)
            * math.sqrt(stats.chi2.median(n_seeds - 1) / (n_seeds - 1))
        ),
        rel=0.05,
    )
    shift = math.log(truth) / spread * math.sqrt(n_seeds)
    reach = stats.t.ppf(0.975, n_seeds - 1)
    expected = stats.nct.sf(reach, n_seeds - 1, shift) + stats.nct.cdf(-reach, n_seeds - 1, shift)
    assert row["power"] == pytest.approx(expected, abs=0.04)
    assert row["bias"] == pytest.approx(0.0, abs=0.005)
    assert row["no_fit"] == 0.0


def test_a_clear_effect_is_always_seen_and_a_hopeless_fit_counts_as_nothing_seen() -> None:
    clear = rows(Noise(0.0005, 0.0), 3, 1.25)
    assert {row["power"] for row in clear.values()} == {1.0}
    hopeless = rows(Noise(1.0, 1.0), 2, 1.25)[FREE]
    assert hopeless["no_fit"] > 0.3
    assert hopeless["power"] < 0.3
    assert hopeless["coverage"] <= 1 - hopeless["no_fit"]


def test_more_seeds_see_more(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated(multipliers={"block_attnres": 1.3}))
    table = power_table(results, [1.0, 1.05], [2, 10], draws=500)
    assert list(table["model"].unique()) == sorted([SHARED, PER_PAIR, FREE])
    assert len(table) == 3 * 2 * 2
    seen = table[(table["model"] == SHARED) & (table["true_multiplier"] == 1.05)]
    few, many = seen.sort_values("n_seeds")["half_width"]
    assert many < few / 2


def test_what_makes_no_sense_is_refused(fabricated: Callable[..., Path]) -> None:
    folder = fabricated()
    results = collect(folder)
    with pytest.raises(UserError, match="1 seeds bear no interval"):
        power_table(results, [1.1], [1])
    with pytest.raises(UserError, match="a multiplier of -1 is none"):
        power_table(results, [-1.0], [2])
    ended = CliRunner().invoke(app, ["power", str(folder), "--seeds", "2,three"])
    assert "numbers divided by commas" in str(ended.exception)
    command = ["power", str(folder), "--seeds", "2", "--multipliers", "1.1", "--format", "csv"]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith("model,n_seeds,true_multiplier,bias,coverage,power,half_width")
