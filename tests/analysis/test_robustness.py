"""Checks of a multiplier: each equals the multiplier of the runs that it says it uses."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricate import make_study

from attnres_eval.analysis.axes import over_flops
from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.fit import NoFitError
from attnres_eval.analysis.frames import multipliers_table
from attnres_eval.analysis.multiplier import FREE, IRREDUCIBLE, PER_PAIR, SHARED, multipliers
from attnres_eval.analysis.robustness import (
    COLUMNS,
    INTERPOLATED,
    RESULT,
    interpolated,
    robustness_table,
)

Fabricated = Callable[..., Path]


def test_every_check_finds_a_known_multiplier(fabricated: Fabricated) -> None:
    folder = fabricated(
        study=make_study(n_sizes=4), multipliers={"block_attnres": 1.25}, noise=1e-5
    )
    table = robustness_table(collect(folder))
    assert list(table.columns) == COLUMNS
    own = table[table["variant"] == "block_attnres"].set_index("check")
    assert list(own.index) == [
        RESULT,
        *(f"without size d{d}" for d in (32, 48, 64, 96)),
        *(f"without seed {s}" for s in (0, 1, 2)),
        PER_PAIR,
        FREE,
        IRREDUCIBLE,
        INTERPOLATED,
    ]
    borne = own.drop(index=IRREDUCIBLE)
    assert borne["multiplier"].to_numpy() == pytest.approx(1.25, rel=5e-3)
    assert own.loc["without size d96", "n_sizes"] == 3
    assert own.loc["without seed 1", "n_seeds"] == 2
    # A power law without a floor: that model is refused, and says why.
    assert math.isnan(own.loc[IRREDUCIBLE, "multiplier"])
    assert own.loc[IRREDUCIBLE, "note"].startswith("not borne by the data")


def test_the_rows_are_those_of_the_multipliers(fabricated: Fabricated) -> None:
    results = collect(fabricated(study=make_study(n_sizes=4), noise=3e-3))
    table = robustness_table(results).set_index(["variant", "check"])
    whole = multipliers_table(results).set_index(["variant", "model"])
    for label in ("full_attnres", "block_attnres"):
        for check, model in ((RESULT, SHARED), (FREE, FREE), (PER_PAIR, PER_PAIR)):
            for column in ("multiplier", "ci_low", "ci_high"):
                assert table.loc[(label, check), column] == pytest.approx(
                    whole.loc[(label, model), column]
                )
    runs = over_flops(results.finished)
    rest = multipliers(runs[runs["seed"] != 1], "prenorm")
    expected = next(m for m in rest if m.label == "full_attnres" and m.model == SHARED)
    assert table.loc[("full_attnres", "without seed 1"), "multiplier"] == expected.value


def test_an_irreducible_loss_that_is_borne_has_its_row(fabricated: Fabricated) -> None:
    folder = fabricated(
        study=make_study(n_sizes=8),
        multipliers={"block_attnres": 1.25},
        noise=1e-6,
        seed_noise=1e-6,
        alpha=0.25,
        a=3000.0,
        e=1.5,
    )
    table = robustness_table(collect(folder)).set_index(["variant", "check"])
    assert table.loc[("block_attnres", IRREDUCIBLE), "multiplier"] == pytest.approx(1.25, rel=0.02)


def test_a_diverged_run_is_left_out_of_the_exponent_once(fabricated: Fabricated) -> None:
    labels = ("prenorm", "full_attnres", "block_attnres", "muddformer")
    results = collect(fabricated(study=make_study(labels=labels, n_sizes=4)))
    checks = list(dict.fromkeys(robustness_table(results)["check"]))
    assert not [check for check in checks if "apart" in check]
    runs = results.runs.copy()
    runs.loc[runs["run"] == "muddformer-d96-s1", "loss"] *= 1.4
    table = robustness_table(replace(results, runs=runs))
    rest = over_flops(runs[runs["label"] != "muddformer"])
    expected = {m.label: m.value for m in multipliers(rest, "prenorm") if m.model == SHARED}
    left_out = table[table["check"] == "without muddformer, which stands apart"]
    assert dict(zip(left_out["variant"], left_out["multiplier"], strict=True)) == expected
    assert set(expected) == {"full_attnres", "block_attnres"}
    whole = table[table["check"] == RESULT].set_index("variant")["multiplier"]
    assert whole["block_attnres"] != expected["block_attnres"]


def pairs_of(compute_v: list[float], loss_v: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "compute_b": [1.0, 10.0, 100.0],
            "loss_b": [4.0, 3.0, 2.5],
            "compute_v": compute_v,
            "loss_v": loss_v,
        }
    )


def test_interpolation_by_hand() -> None:
    # The baseline's own losses, its middle point's at half the compute, and one half way down in
    # log loss between the last two.
    middle = math.sqrt(3.0 * 2.5)
    found, beyond = interpolated(pairs_of([1.0, 5.0, 100.0], [4.0, 3.0, middle]))
    assert found == pytest.approx(np.log([1.0, 2.0, math.sqrt(10 * 100) / 100]))
    assert beyond == 0


def test_interpolation_is_numpys_inside_the_baselines_losses() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        losses = list(np.exp(random.uniform(math.log(2.5), math.log(4.0), 3)))
        found, beyond = interpolated(pairs_of([1.0, 10.0, 100.0], losses))
        on_line = np.interp(np.log(losses), np.log([2.5, 3.0, 4.0]), np.log([100.0, 10.0, 1.0]))
        assert found == pytest.approx(on_line - np.log([1.0, 10.0, 100.0]))
        assert beyond == 0


def test_losses_beyond_the_baseline_are_read_on_the_nearest_piece() -> None:
    slope = math.log(2.5 / 3.0) / math.log(10)
    lower = 2.5 * 2**slope
    found, beyond = interpolated(pairs_of([1.0, 10.0, 100.0], [4.0, 3.0, lower]))
    assert found == pytest.approx([0, 0, math.log(2)])
    assert beyond == 1
    higher = 4.0 * 0.5 ** (math.log(3 / 4) / math.log(10))
    found, beyond = interpolated(pairs_of([1.0, 10.0, 100.0], [higher, 3.0, 2.5]))
    assert found == pytest.approx([math.log(0.5), 0, 0])
    assert beyond == 1


def test_a_baseline_that_rises_is_not_interpolated() -> None:
    pairs = pairs_of([1.0, 10.0, 100.0], [4.0, 3.0, 2.5])
    pairs["loss_b"] = [4.0, 2.4, 2.5]
    with pytest.raises(NoFitError, match="do not fall"):
        interpolated(pairs)


def test_two_sizes_have_no_checks(fabricated: Fabricated) -> None:
    assert robustness_table(collect(fabricated(study=make_study(n_sizes=2)))).empty


def test_one_seed_is_not_left_out(fabricated: Fabricated) -> None:
    table = robustness_table(collect(fabricated(study=make_study(n_sizes=3, seeds=(0,)))))
    assert not table["check"].str.startswith("without seed").any()
    assert table["ci_low"].isna().all()
