"""The reference study follows its protocol: later parts train at the rates that were found best."""

from pathlib import Path

import pandas as pd
import pytest

from attnres_eval.analysis.collect import collect
from attnres_eval.analysis.rates import best_rates_table, rates_table
from attnres_eval.labels import split_label
from attnres_eval.study import Study
from attnres_eval.study_file import load_parts

ROOT = Path(__file__).parents[1]
RATES = ROOT / "results" / "reference" / "rates"
PARTS = load_parts("reference")


def width_factor(study: Study, label: str, size: str) -> float:
    """A label's peak rate times d_model, which the protocol held fixed across widths at first."""
    run = study.run(label, size, study.seeds[0])
    return run.learning_rate * run.shape.d_model


@pytest.fixture(scope="module")
def best() -> pd.Series:
    """Best rate times d_model by variant."""
    results = collect(RATES)
    table = best_rates_table(results, rates_table(results))
    assert not table["edge"].any(), "the protocol extends the grid of a best rate at its edge"
    return table.set_index("variant")["learning_rate"] * 32


@pytest.mark.parametrize("part", ["ladder", "depth", "blocks"])
def test_rates_are_the_baselines_and_the_variants_own(part: str, best: pd.Series) -> None:
    study = PARTS[part]
    for size in study.sizes:
        found: dict[str, set[float]] = {}
        for label in study.variants:
            behind = study.label(label)
            base = split_label(label)[0]
            # Variants with other options share the rates of the variant they are options of.
            name = base if base in best.index else behind.variant
            if behind.flops_of is None:
                found.setdefault(base, set()).add(round(width_factor(study, label, size), 9))
            else:
                assert width_factor(study, label, size) == pytest.approx(best["prenorm"])
            allowed = (best["prenorm"], best[name])
            assert any(width_factor(study, label, size) == pytest.approx(x) for x in allowed)
        for base, rates in found.items():
            name = base if base in best.index else study.label(base).variant
            wanted = {round(best["prenorm"], 9), round(best[name], 9)}
            assert rates == wanted, f"{base} at {size}"


def test_transfer_looks_at_half_once_and_twice_the_best(best: pd.Series) -> None:
    study = PARTS["transfer"]
    found: dict[str, set[float]] = {}
    for label in study.variants:
        base = split_label(label)[0]
        found.setdefault(base, set()).add(round(width_factor(study, label, "d64"), 9))
    assert set(found) == {"prenorm", "full_attnres", "block_attnres"}
    for name, rates in found.items():
        # A grid whose best rate was at its edge went on.
        assert rates >= {round(best[name] * factor, 9) for factor in (0.5, 1, 2)}


def test_no_seed_and_no_size_is_judged_by_what_chose_its_rate() -> None:
    rates, ladder = PARTS["rates"], PARTS["ladder"]
    assert not set(rates.seeds) & set(ladder.seeds)
    widths = {ladder.shape(size).d_model for size in ladder.sizes}
    assert rates.shape("d32").d_model not in widths
