"""The reference study follows its protocol: later parts train at the rates that were found best."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.rates import best_rates_table, rates_table
from attnres_eval.labels import own_base, split_label
from attnres_eval.study import Study
from attnres_eval.study_file import load_parts

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"
PARTS = load_parts("reference")


def rate(study: Study, label: str, size: str) -> float:
    """A label's peak rate."""
    return study.run(label, size, study.seeds[0]).learning_rate


def best_rates(folder: Path) -> pd.Series:
    """Best rate by variant, at a part's only size."""
    results = collect(folder)
    table = best_rates_table(results, rates_table(results))
    assert not table["edge"].any(), "the protocol extends the grid of a best rate at its edge"
    return table.set_index("variant")["learning_rate"]


@pytest.fixture(scope="module")
def best() -> pd.Series:
    """At d_model 32."""
    return best_rates(REFERENCE / "rates")


@pytest.fixture(scope="module")
def best_wider() -> pd.Series:
    """At d_model 64; Full and Block AttnRes and PreNorm only."""
    return best_rates(REFERENCE / "transfer")


def own_rate(name: str, d_model: int, best: pd.Series, wider: pd.Series) -> float:
    """Best rate of a variant at a width, by the rule of docs/protocol.md with its changes."""
    power = math.log2(wider[name if name in wider.index else "prenorm"])
    power -= math.log2(best[name if name in wider.index else "prenorm"])
    return float(best[name] * (d_model / 32) ** power)


EXPLORATORY = {("ladder", "prenorm_x0.5"), ("ladder", "prenorm_own"), ("depth", "prenorm_own")}
"""Rates that the protocol's last changes added."""


@pytest.mark.parametrize("part", ["ladder", "depth", "blocks"])
def test_rates_are_the_baselines_and_the_variants_own(
    part: str, best: pd.Series, best_wider: pd.Series
) -> None:
    study = PARTS[part]
    for size in study.sizes:
        d_model = study.shape(size).d_model
        common = own_rate("prenorm", d_model, best, best_wider)
        found: dict[str, list[float]] = {}
        for label in study.variants:
            if (part, label) in EXPLORATORY:
                continue
            if study.label(label).flops_of is None:
                found.setdefault(own_base(label), []).append(rate(study, label, size))
            else:
                assert rate(study, label, size) == pytest.approx(common)
        for base, rates in found.items():
            # Variants with other options share the rates of the variant they are options of.
            name = base if base in best.index else study.label(base).variant
            own = own_rate(name, d_model, best, best_wider)
            same = best[name] == best["prenorm"] and name not in ("full_attnres", "block_attnres")
            wanted = [common] if same else [common, own]
            assert rates == pytest.approx(wanted, rel=5e-4), f"{base} at {size}"


def vertex(rates: pd.DataFrame) -> float:
    """The rate of least loss by the parabola through the least and its neighbours in log rate."""
    ordered = rates.sort_values("learning_rate")
    place = int(np.argmin(ordered["nats_per_token"]))
    near = ordered.iloc[place - 1 : place + 2]
    square, slope, _ = np.polyfit(np.log(near["learning_rate"]), near["nats_per_token"], 2)
    return math.exp(-slope / (2 * square))


def test_rates_that_later_changes_added() -> None:
    narrow, wide = (
        vertex(table[table["variant"] == "prenorm"])
        for table in (
            pd.read_csv(REFERENCE / part / "tables" / "rates.csv") for part in ("rates", "transfer")
        )
    )
    for study in (PARTS["ladder"], PARTS["depth"]):
        for size in study.sizes:
            d_model = study.shape(size).d_model
            own = narrow * (d_model / 32) ** math.log2(wide / narrow)
            assert rate(study, "prenorm_own", size) == pytest.approx(own, rel=5e-4)
    ladder = PARTS["ladder"]
    for size in ladder.sizes:
        half = rate(ladder, "prenorm", size) / 2
        assert rate(ladder, "prenorm_x0.5", size) == pytest.approx(half)


def test_transfer_looks_at_half_once_and_twice_the_best(best: pd.Series) -> None:
    study = PARTS["transfer"]
    found: dict[str, set[float]] = {}
    for label in study.variants:
        base = split_label(label)[0]
        found.setdefault(base, set()).add(round(rate(study, label, "d64"), 9))
    assert set(found) == {"prenorm", "full_attnres", "block_attnres"}
    for name, rates in found.items():
        # Half, once and twice what 1 / d_model gives; a grid whose best was at its edge went on.
        assert rates >= {round(best[name] * factor, 9) for factor in (0.25, 0.5, 1)}


def test_no_seed_and_no_size_is_judged_by_what_chose_its_rate() -> None:
    rates, ladder = PARTS["rates"], PARTS["ladder"]
    assert not set(rates.seeds) & set(ladder.seeds)
    widths = {ladder.shape(size).d_model for size in ladder.sizes}
    assert rates.shape("d32").d_model not in widths
