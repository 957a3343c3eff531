"""Published claims beside what a study found: verdicts by the rule, rows of AttnRes alone."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from attnres_eval.analysis.claims import (
    BOUNDED,
    COLUMNS,
    DEEPER,
    NOT_REPRODUCED,
    REASONING,
    REPRODUCED,
    UNSEEN,
    Claim,
    claims_table,
    multiplier_verdict,
    verdict,
)
from attnres_eval.analysis.collect import Results, collect
from attnres_eval.analysis.multiplier import SHARED

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.01, 1.25, "reproduced"),
        (1.25, 1.3, "reproduced"),
        (1.01, 1.24, "a saving of another size"),
        (1.26, 1.4, "a saving of another size"),
        (0.9, 1.24, "not reproduced at this scale"),
        (0.8, 0.99, "not reproduced at this scale, a loss"),
        (1.0, 1.24, "not reproduced at this scale"),
        (0.9, 1.25, "cannot be told from 1 or from 1.25 at this scale"),
    ],
)
def test_the_rule_of_the_multiplier(low: float, high: float, said: str) -> None:
    assert multiplier_verdict(low, high) == said


@pytest.mark.parametrize(
    ("claim", "low", "high", "said"),
    [
        (REASONING, 0.01, 0.1, REPRODUCED),
        (REASONING, -0.1, -0.01, NOT_REPRODUCED),
        (REASONING, -0.1, 0.1, UNSEEN),
        (REASONING, 0.0, 0.1, UNSEEN),
        (BOUNDED, 0.5, 0.9, REPRODUCED),
        (BOUNDED, 1.1, 1.3, NOT_REPRODUCED),
        (BOUNDED, 0.9, 1.1, UNSEEN),
        (DEEPER, -0.02, -0.01, REPRODUCED),
        (DEEPER, 0.01, 0.02, NOT_REPRODUCED),
        (DEEPER, -0.01, 0.02, UNSEEN),
    ],
)
def test_the_rule_of_the_others(claim: Claim, low: float, high: float, said: str) -> None:
    assert verdict(claim, low, high) == said


def table(columns: str, *rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


@pytest.fixture
def results(fabricated: Callable[..., Path]) -> Results:
    return collect(fabricated())


def test_rows_are_those_with_an_interval_of_attnres(results: Results) -> None:
    first, *_, last = results.study.sizes
    multipliers = table(
        "variant model multiplier ci_low ci_high",
        ("full_attnres", SHARED, 1.1, 1.05, 1.3),
        ("block_attnres", SHARED, 1.1, 1.05, 1.3),
        ("block_attnres", "free exponents", 1.2, 1.1, 1.3),
        ("block_attnres_own", SHARED, 1.1, NAN, NAN),
        ("block_attnres_x2", SHARED, 0.8, 0.7, 0.9),
    )
    gains = table(
        "variant size difference ci_low ci_high",
        ("full_attnres", last, 0.2, 0.1, 0.3),
        ("full_attnres", first, -0.2, -0.3, -0.1),
        ("mhc", last, 0.2, 0.1, 0.3),
    )
    growth = table(
        "variant size measure relative relative_low relative_high",
        ("prenorm", first, "output_rms", NAN, NAN, NAN),
        ("block_attnres_own", first, "output_rms", 0.5, 0.4, 0.6),
        ("block_attnres", first, "gradient_rms", 0.5, 0.4, 0.6),
    )
    slopes = table(
        "variant slope ci_low ci_high",
        ("block_attnres_n4", 0.02, 0.01, 0.03),
        ("hyper_connections", 0.02, 0.01, 0.03),
    )
    found = claims_table(results, multipliers, gains, growth, slopes)
    assert list(found.columns) == COLUMNS
    assert list(zip(found["variant"], found["estimate"], found["verdict"], strict=True)) == [
        ("block_attnres", 1.1, "reproduced"),
        ("block_attnres_x2", 0.8, "not reproduced at this scale, a loss"),
        ("full_attnres", 0.2, "reproduced"),
        ("block_attnres_own", 0.5, "reproduced"),
        ("block_attnres_n4", 0.02, "not reproduced at this scale"),
    ]
    assert list(found["size"].dropna()) == [last, first]
    assert list(found["ci_low"]) == [1.05, 0.7, 0.1, 0.4, 0.01]
    empty = claims_table(results, multipliers[:0], gains[:0], growth[:0], slopes[:0])
    assert empty.empty
    assert list(empty.columns) == COLUMNS
