import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from attnres_eval.analysis.coverage import Noise, estimate_noise, simulate_coverage
from attnres_eval.analysis.multiplier import (
    BOTH_OWN,
    FREE,
    IRREDUCIBLE,
    PER_PAIR,
    SHARED,
    Multiplier,
    at_own_rates,
    multipliers,
)

TRUTH = {"base": 1.0, "good": 1.25, "bad": 0.8}
EXTRA = {"base": 1.0, "good": 1.05, "bad": 1.02}
"""FLOPs over the baseline's at the same size."""


def runs(
    *,
    n_sizes: int = 3,
    n_seeds: int = 3,
    own: float = 0.0,
    common: float = 0.0,
    alpha: float = 0.08,
    e: float = 0.0,
    random_seed: int = 0,
) -> pd.DataFrame:
    random = np.random.default_rng(random_seed)
    rows = []
    for number, compute in enumerate(np.geomspace(1e12, 2e13, n_sizes)):
        for seed in range(n_seeds):
            shared = common * random.standard_normal()
            for label, multiplier in TRUTH.items():
                flops = compute * EXTRA[label]
                loss = e + 4 * (multiplier * flops / 1e13) ** -alpha
                loss *= math.exp(shared + own * random.standard_normal())
                rows.append((label, f"n{number}", seed, flops, loss))
    return pd.DataFrame(rows, columns=["label", "size", "seed", "compute", "loss"])


def by_key(found: list[Multiplier]) -> dict[tuple[str, str], Multiplier]:
    return {(m.label, m.model): m for m in found}


def test_exact_curves_give_exact_multipliers() -> None:
    found = by_key(multipliers(runs(), "base"))
    for label in ("good", "bad"):
        for model in (SHARED, PER_PAIR, FREE):
            assert found[label, model].value == pytest.approx(TRUTH[label])
    assert ("base", SHARED) not in found
    assert ("good", IRREDUCIBLE) not in found


def test_the_unit_of_loss_does_not_matter() -> None:
    data = runs(own=0.003, common=0.01)
    bits = data.assign(loss=data["loss"] / math.log(2) / 3.7)
    for nats, other in zip(multipliers(data, "base"), multipliers(bits, "base"), strict=True):
        assert other.value == pytest.approx(nats.value)
        assert other.interval == pytest.approx(nats.interval)


def test_what_is_common_to_a_pair_cancels() -> None:
    widths: dict[str, list[float]] = {"paired": [], "unpaired": []}
    for draw in range(10):
        data = runs(own=0.002, common=0.02, random_seed=draw)
        moved = data.copy()
        good = moved["label"] == "good"
        moved.loc[good, "seed"] = (moved.loc[good, "seed"] + 1) % 3
        for name, part in (("paired", data), ("unpaired", moved)):
            interval = by_key(multipliers(part, "base"))["good", SHARED].interval
            widths[name].append(math.log(interval.high / interval.low))
    assert np.mean(widths["unpaired"]) > 3 * np.mean(widths["paired"])


def test_free_exponents_invert_the_curves() -> None:
    data = runs(own=0.01)
    one_seed = data[data["seed"] == 0]
    target = 7e12
    m = by_key(multipliers(one_seed, "base", target))["bad", FREE]
    lines = {
        label: np.polyfit(np.log(part["compute"]), np.log(part["loss"]), 1)
        for label, part in one_seed.groupby("label")
    }
    wanted = np.polyval(lines["bad"], math.log(target))
    log_compute = optimize.brentq(lambda x: np.polyval(lines["base"], x) - wanted, 0, 60)
    assert m.value == pytest.approx(math.exp(log_compute) / target)
    assert m.target == target


def test_one_seed_has_no_interval_and_says_so() -> None:
    for m in multipliers(runs(n_seeds=1, own=0.003), "base"):
        assert not math.isnan(m.value)
        assert not m.interval.exists
        assert "one seed: no interval" in m.note


def test_two_sizes_have_no_interval_and_say_so() -> None:
    for m in multipliers(runs(n_sizes=2, own=0.003), "base"):
        assert not math.isnan(m.value)
        assert not m.interval.exists
        assert "2 sizes: no interval" in m.note


def test_one_size_has_no_multiplier() -> None:
    for m in multipliers(runs(n_sizes=1, own=0.003), "base"):
        assert math.isnan(m.value)
        assert not m.interval.exists
        assert "one size" in m.note


def test_a_loss_that_rises_has_no_multiplier() -> None:
    for m in multipliers(runs(alpha=-0.02), "base"):
        assert math.isnan(m.value)
        assert "does not fall" in m.note


def test_runs_without_a_partner_are_left_out() -> None:
    data = runs(own=0.001)
    missing = (data["label"] == "good") & (data["seed"] == 2) & (data["size"] == "n0")
    m = by_key(multipliers(data[~missing], "base"))["good", SHARED]
    assert m.n_seeds == 2
    assert m.n_sizes == 3
    alone = data[(data["label"] == "base") | ((data["label"] == "good") & (data["seed"] == 9))]
    assert multipliers(alone, "base") == []


def test_targets_outside_the_runs_are_flagged() -> None:
    data = runs()
    inside = by_key(multipliers(data, "base"))["good", SHARED]
    assert inside.target == pytest.approx(2e13)
    assert not inside.extrapolated
    assert "1.25x beyond" in inside.note
    for target in (1e11, 1e15):
        outside = by_key(multipliers(data, "base", target))["good", SHARED]
        assert outside.extrapolated
        assert "outside" in outside.note


def test_irreducible_row_where_the_data_bear_it() -> None:
    data = runs(n_sizes=5, e=2.0, alpha=0.25, own=1e-4, common=1e-4)
    m = by_key(multipliers(data, "base"))["good", IRREDUCIBLE]
    assert m.value == pytest.approx(1.25, rel=0.01)
    assert m.interval.contains(m.value)
    assert m.interval.high / m.interval.low < 1.05


def test_intervals_cover_the_truth_as_often_as_simulated() -> None:
    draws, own, common = 150, 0.004, 0.01
    hits = {"good": 0, "bad": 0}
    for draw in range(draws):
        data = runs(own=own, common=common, random_seed=draw)
        found = by_key(multipliers(data, "base"))
        for label in hits:
            hits[label] += found[label, SHARED].interval.contains(TRUTH[label])
    simulated = simulate_coverage(
        runs(), "base", dict.fromkeys(hits, 2e13), noise=Noise(own, common)
    )
    for label, count in hits.items():
        share = count / draws
        # Three standard errors of 150 draws are 0.053.
        assert share == pytest.approx(0.95, abs=0.053)
        assert simulated[label, SHARED].share == pytest.approx(0.95, abs=0.02)
        assert simulated[label, SHARED].share == pytest.approx(share, abs=0.055)


def test_coverage_shows_what_a_held_exponent_leaves_out() -> None:
    """With a large effect and a noisy exponent, pairs alone are too sure of themselves."""
    data = runs()
    far = data.assign(loss=np.where(data["label"] == "good", data["loss"] * 0.8, data["loss"]))
    simulated = simulate_coverage(far, "base", {"good": 2e13, "bad": 2e13}, noise=Noise(0.01, 0.01))
    assert simulated["good", PER_PAIR].share < 0.88
    assert simulated["good", SHARED].share > 0.92
    assert 0 < simulated["good", SHARED].error < 0.01


def test_a_label_without_all_sizes_takes_no_coverage_from_the_others() -> None:
    data = runs()
    first = data["size"] == data["size"].iloc[0]
    lone = data[first & (data["label"] == "bad")].assign(label="lone")
    targets = dict.fromkeys(("good", "bad", "lone"), 2e13)
    noise = Noise(0.004, 0.01)
    simulated = simulate_coverage(pd.concat([data, lone]), "base", targets, noise=noise)
    assert simulated == simulate_coverage(data, "base", targets, noise=noise)
    assert {label for label, _ in simulated} == {"good", "bad"}


def test_noise_is_told_apart() -> None:
    noise = estimate_noise(runs(n_sizes=6, n_seeds=60, own=0.003, common=0.01), "base")
    assert noise is not None
    assert noise.own == pytest.approx(0.003, rel=0.1)
    assert noise.common == pytest.approx(0.01, rel=0.15)


def test_own_rates_are_compared_with_the_baseline_at_its_own() -> None:
    data = runs()
    assert at_own_rates(data, "base") == []
    names = {"base": "base_own", "good": "good_own", "bad": "mid"}
    own = data.assign(label=data["label"].map(names), loss=0.9 * data["loss"])
    both = pd.concat([data, own], ignore_index=True)
    (found,) = at_own_rates(both, "base")
    assert (found.label, found.model) == ("good_own", BOTH_OWN)
    assert found.value == pytest.approx(TRUTH["good"])
    over_common = by_key(multipliers(both, "base"))["good_own", SHARED]
    assert over_common.value > 2 * found.value


def test_a_run_that_diverged_is_no_noise() -> None:
    data = runs(n_sizes=3, n_seeds=5, own=0.003, common=0.01)
    calm = estimate_noise(data[data["label"] != "bad"], "base")
    last = data[data["label"] == "bad"].index[-1]
    data.loc[last, "loss"] *= 1.5
    noise = estimate_noise(data, "base")
    assert noise is not None
    assert calm is not None
    assert noise.own == pytest.approx(calm.own, rel=0.25)


def test_no_noise_estimate_no_coverage() -> None:
    data = runs(n_seeds=1, own=0.003)
    assert estimate_noise(data, "base") is None
    assert simulate_coverage(data, "base", {"good": 2e13, "bad": 2e13}) == {}
