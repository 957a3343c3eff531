"""Variants at several rates in words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fabricate import make_study
from sweeps import rates_study, study_of

from attnres_eval.analysis.collect import collect
from attnres_eval.report.build import study_tables
from attnres_eval.report.words import multiplier_sentences, run_sentences
from attnres_eval.report.words_differences import difference_headline, difference_sentences
from attnres_eval.report.words_variants import at_rates, counted_variants, variants_in_words

GRID = [0.125, 0.25, 0.5, 1, 2]


@pytest.mark.parametrize(
    ("variants", "text"),
    [
        ({"prenorm": {}}, "one variant (PreNorm)"),
        ({"prenorm": {}, "mhc": {}}, "2 variants (PreNorm and mHC)"),
        (
            {name: {"learning_rate_scale": GRID} for name in ("prenorm", "mhc")},
            "2 variants (PreNorm and mHC), each at 0.125, 0.25, 0.5, 1 and 2 times the rate,",
        ),
        (
            {"prenorm": {"learning_rate_scale": [0.5, 1]}},
            "one variant (PreNorm), at 0.5 and 1 times the rate,",
        ),
        (
            {"prenorm": {}, "mhc": {"learning_rate_scale": [0.5, 1]}},
            "2 variants (PreNorm; mHC at 0.5 and 1 times the rate)",
        ),
        (
            {"prenorm": {}, "mhc": {"learning_rate_scale": [1, {"d32": 0.5}]}},
            "2 variants (PreNorm; mHC at the rate of all and at its own rate)",
        ),
        (
            {"prenorm": {}, "mhc": {"learning_rate_scale": [0.5, 1, {"d32": 0.7}]}},
            "2 variants (PreNorm; mHC at 0.5 and 1 times the rate and at its own rate)",
        ),
        (
            {"prenorm": {}, "mhc": {"learning_rate_scale": [{"d32": 0.7}]}},
            "2 variants (PreNorm; mHC at its own rate)",
        ),
    ],
)
def test_variants_are_named_once_with_their_rates(variants: dict[str, object], text: str) -> None:
    assert variants_in_words(study_of(variants).variants) == text


def test_variants_are_counted_once() -> None:
    assert counted_variants(list(rates_study().variants)) == "3 variants (13 with their rates)"
    assert counted_variants(["prenorm", "mhc"]) == "2 variants"
    assert counted_variants(["prenorm_x2"]) == "one variant"
    assert at_rates(["mhc", "mhc_x2"]) == " at their rates"
    assert at_rates(["mhc", "prenorm_x2"]) == ""


def test_a_sweep_is_told_in_few_words(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated(study=rates_study(), inspected=False))
    tables = study_tables(results)
    told = " ".join(run_sentences(results))
    assert (
        "3 variants (PreNorm at 0.125, 0.25, 0.5, 1 and 2 times the rate; Full AttnRes at 0.125,"
        " 0.25, 0.5, 1 and 2 times the rate; mHC at 0.5, 1 and 2 times the rate) at one size"
    ) in told
    assert "the same for all variants but for the factors named above; cosine" in told
    assert "× the rate" not in told
    (none,) = multiplier_sentences(results, tables["multipliers"])
    assert none.startswith("3 variants (12 with their rates): no multiplier (")
    differences = tables["differences"]
    assert "of 12 variants at their rates reach" in difference_headline(results, differences)
    assert "of 12 variants at their rates lie below PreNorm" in " ".join(
        difference_sentences(results, differences)
    )


def test_a_study_at_one_rate_is_told_as_ever(fabricated: Callable[..., Path]) -> None:
    results = collect(fabricated(study=make_study(n_sizes=1), inspected=False))
    told = " ".join(run_sentences(results))
    assert "3 variants (PreNorm, Full AttnRes and Block AttnRes) at one size" in told
    assert "the same for all variants; cosine" in told
    differences = study_tables(results)["differences"]
    assert "of 2 variants reach" in difference_headline(results, differences)
