"""Multipliers at equal time: closed forms, the calibration's error, and folders without times."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricate import ROUND_SPREAD, ROUNDS, make_study

from attnres_eval.analysis.axes import over_flops, over_seconds
from attnres_eval.analysis.collect import Results, collect
from attnres_eval.analysis.frames import multipliers_table
from attnres_eval.analysis.intervals import NO_INTERVAL, Interval
from attnres_eval.analysis.multiplier import FREE, PER_PAIR, SHARED, multipliers
from attnres_eval.analysis.step_times import log_reach, step_times_table
from attnres_eval.analysis.time_multipliers import (
    time_fits_table,
    time_multipliers_table,
    widened,
)
from attnres_eval.errors import UserError
from attnres_eval.records import calibration_file, read_sealed

Fabricated = Callable[..., Path]
REACH = ROUND_SPREAD * (1 - 2 / (ROUNDS - 1))
"""Of the interval of a median of 11: it leaves out one value at each end."""


def tables(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    times = step_times_table(results.study, results.calibration)
    return times, time_multipliers_table(results, times)


@pytest.mark.parametrize("growth", [1.0, 0.8, 1.3])
@pytest.mark.parametrize("ratio", [1.0, 1.25, 0.7])
def test_the_closed_form(growth: float, ratio: float) -> None:
    """M_time = (F M_flops)^g / r, whatever the exponent of the losses."""
    truth, extra = 1.3, 1.07
    rows = []
    for number, flops in enumerate(np.geomspace(1e12, 3e13, 4)):
        for label, m, f, r in (("base", 1.0, 1.0, 1.0), ("mine", truth, extra, ratio)):
            loss = 4 * (m * f * flops / 1e13) ** -0.07
            seconds = 5 * r * (flops / 1e12) ** growth
            rows.append((label, f"n{number}", 0, f * flops, loss, seconds / 100, 100))
    columns = ["label", "size", "seed", "flops", "loss", "per_token", "tokens"]
    runs = pd.DataFrame(rows, columns=columns)
    times = runs.rename(columns={"label": "variant", "per_token": "seconds_per_token"})
    for m in multipliers(over_flops(runs), "base"):
        assert m.value == pytest.approx(truth)
    found = multipliers(over_seconds(runs, times), "base")
    assert {m.model for m in found} >= {SHARED, PER_PAIR, FREE}
    for m in found:
        assert m.value == pytest.approx((extra * truth) ** growth / ratio)


def test_known_ratios_give_known_multipliers(fabricated: Fabricated) -> None:
    study = make_study(labels=("prenorm", "fast", "slow"), tasks=())
    results = collect(
        fabricated(
            study=study,
            multipliers={"fast": 1.25, "slow": 1.25},
            step_times={"fast": 0.8, "slow": 1.6},
            noise=0.0,
            seed_noise=0.0,
        )
    )
    times, table = tables(results)
    rows = table[table["model"] == SHARED].set_index("variant")
    assert rows.loc["fast", "multiplier"] == pytest.approx(1.25 / 0.8)
    assert rows.loc["slow", "multiplier"] == pytest.approx(1.25 / 1.6)
    largest = results.runs[results.runs["label"] == "prenorm"].iloc[-1]
    # The common reach is the fast variant's largest run for itself, the baseline's for the slow.
    assert rows.loc["slow", "target_seconds"] == pytest.approx(largest["flops"] / 1e9)
    assert rows.loc["fast", "target_seconds"] == pytest.approx(0.8 * largest["flops"] / 1e9)
    fits = time_fits_table(results, times)
    shared = fits[fits["model"] == SHARED].set_index("variant")
    assert shared["alpha"].to_numpy() == pytest.approx([0.06] * 3)
    # At one second the baseline has done 1e9 FLOPs.
    assert shared.loc["prenorm", "a"] == pytest.approx(12 * 1e9**-0.06)


def test_equal_losses_leave_the_time_alone(fabricated: Fabricated) -> None:
    """Where the losses per token are the same, M_time is one over the step's ratio."""
    study = make_study(labels=("prenorm", "twin"), tasks=())
    _, table = tables(
        collect(fabricated(study=study, step_times={"twin": 1.2}, noise=0.0, seed_noise=0.0))
    )
    assert table["multiplier"].to_numpy() == pytest.approx([1 / 1.2] * len(table))


def test_step_times_are_medians_of_rounds(fabricated: Fabricated) -> None:
    folder = fabricated(step_times={"block_attnres": 1.25})
    path = calibration_file(folder)
    record = read_sealed(path)
    # The machine is twice as slow throughout one pair: its ratio and its seconds stay.
    for pair in record["pairs"]:
        if (pair["size"], pair["label"]) == ("d48", "block_attnres"):
            for key in ("seconds", "baseline_seconds"):
                pair[key] = [2 * second for second in pair[key]]
        # Of two copies of the baseline one is slower: that is an error, and not its seconds.
        if pair["label"] == "prenorm":
            pair["seconds"] = [1.1 * second for second in pair["seconds"]]
    path.write_text(json.dumps(record))
    results = collect(folder)
    times = step_times_table(results.study, results.calibration)
    rows = times.set_index(["variant", "size"])
    assert rows.loc[("prenorm", "d48"), "relative_step_time"] == pytest.approx(1.1)
    assert list(rows.loc[("block_attnres", "d48"), ["rounds", "threads"]]) == [ROUNDS, 1]
    for size in results.study.sizes:
        row, base = rows.loc[("block_attnres", size)], rows.loc[("prenorm", size)]
        cost = results.study.run("prenorm", size, 0).cost()
        assert base["seconds_per_token"] == pytest.approx(cost.training_flops_per_token / 1e9)
        assert row["seconds_per_token"] == pytest.approx(1.25 * base["seconds_per_token"])
        assert row["relative_step_time"] == pytest.approx(1.25)
        assert math.log(row["ci_high"] / 1.25) == pytest.approx(REACH)
        assert math.log(1.25 / row["ci_low"]) == pytest.approx(REACH)
    assert rows.loc[("block_attnres", "d48"), "baseline_spread"] > 0
    assert rows.loc[("block_attnres", "d64"), "baseline_spread"] == 0
    assert log_reach(times, "block_attnres") == pytest.approx(REACH)


def test_the_calibrations_error_is_in_the_interval(fabricated: Fabricated) -> None:
    study = make_study(labels=("prenorm", "mine"), tasks=())
    results = collect(fabricated(study=study, step_times={"mine": 1.0}))
    flops = multipliers_table(results).set_index("model")
    _, timed = tables(results)
    timed = timed.set_index("model")
    for model in (SHARED, PER_PAIR, FREE):
        # Time is in proportion to FLOPs: the two intervals differ by the calibration alone.
        seeds = math.log(flops.loc[model, "ci_high"] / flops.loc[model, "ci_low"]) / 2
        total = math.log(timed.loc[model, "ci_high"] / timed.loc[model, "ci_low"]) / 2
        assert total == pytest.approx(math.hypot(seeds, REACH))
        assert timed.loc[model, "multiplier"] == pytest.approx(flops.loc[model, "multiplier"])
        assert timed.loc[model, "calibration_error"] == pytest.approx(math.expm1(REACH))


def test_too_few_rounds_bear_no_interval(fabricated: Fabricated) -> None:
    folder = fabricated(step_times={})
    path = calibration_file(folder)
    record = read_sealed(path)
    for pair in record["pairs"]:
        for key in ("seconds", "baseline_seconds"):
            pair[key] = pair[key][3:8]
    path.write_text(json.dumps(record))
    _, table = tables(collect(folder))
    assert table["multiplier"].notna().all()
    assert table[["ci_low", "ci_high", "calibration_error"]].isna().all(axis=None)
    assert table["note"].str.contains("too few rounds timed: no interval").all()


def test_widening() -> None:
    found = widened(2.0, Interval(1.0, 4.0), math.log(2))
    assert found == pytest.approx((2 * 2 ** -math.sqrt(2), 2 * 2 ** math.sqrt(2)))
    assert widened(2.0, Interval(1.0, 4.0), 0.0) == pytest.approx((1.0, 4.0))
    assert widened(2.0, NO_INTERVAL, 0.1) == pytest.approx(NO_INTERVAL, nan_ok=True)
    assert not widened(2.0, Interval(1.0, 4.0), math.nan).exists


def test_without_a_calibration_there_are_empty_tables(fabricated: Fabricated) -> None:
    results = collect(fabricated())
    assert results.calibration is None
    times, table = tables(results)
    assert times.empty
    assert table.empty
    assert time_fits_table(results, times).empty
    assert "multiplier" in table


def test_damaged_and_foreign_calibrations_are_one_line(fabricated: Fabricated) -> None:
    folder = fabricated(step_times={})
    path = calibration_file(folder)
    record = read_sealed(path)
    path.write_text(path.read_text()[:500])
    with pytest.raises(UserError, match=r"calibration\.json is not valid JSON"):
        collect(folder)
    path.write_text(json.dumps({**record, "hours": 3}))
    with pytest.raises(UserError, match=r"calibration\.json is no Calibration: hours"):
        collect(folder)
    other = make_study(n_sizes=2).model_dump(mode="json")
    damaged = {**record["study"], "sizes": 3}
    for changes in ({"study": other}, {"study": damaged}, {"pairs": record["pairs"][1:]}):
        path.write_text(json.dumps({**record, **changes}))
        with pytest.raises(UserError, match=r"not of this folder's study.*attnres-eval calibrate"):
            collect(folder)
    # What does not change a step's time may differ, and keys that older records lack have defaults.
    older = {**record["study"], "seeds": [7], "description": "older"}
    del older["evaluation"]["calibration_rounds"]
    path.write_text(json.dumps({**record, "study": older}))
    assert collect(folder).calibration is not None


def test_rounds_are_whole(fabricated: Fabricated) -> None:
    folder = fabricated(step_times={})
    path = calibration_file(folder)
    for change in ([1.0], [], [0.0] * ROUNDS):
        record = read_sealed(path)
        record["pairs"][0]["seconds"] = change
        path.with_suffix(".bad").write_text(json.dumps(record))
        path.with_suffix(".bad").replace(path)
        with pytest.raises(UserError, match=r"is no Calibration: pairs\.0"):
            collect(folder)
