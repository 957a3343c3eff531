"""Published claims beside what a study found: verdicts by the rule, rows of AttnRes alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from attnres_eval.analysis.claims import (
    ANOTHER,
    BOUNDED,
    CANNOT_BE_TOLD,
    COLUMNS,
    DEEPER,
    DEEPER_OVER_OWN,
    NO_GAIN,
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
from attnres_eval.analysis.multiplier import BOTH_OWN, SHARED
from attnres_eval.report.words_published import CLAIMS
from attnres_eval.study import Study

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


VARIANTS = {
    "prenorm": None,
    "full_attnres": None,
    "block_attnres": None,
    "mhc": None,
    "attnres8": {"variant": "block_attnres", "num_blocks": 8},
    "block_attnres_x2": {"variant": "block_attnres", "learning_rate_scale": 2},
    "full_attnres_not": {"variant": "hyper_connections"},
}


@pytest.fixture
def results(fabricated: Callable[..., Path]) -> Results:
    found = collect(fabricated())
    plan = found.study.model_dump(mode="json") | {"variants": VARIANTS}
    return replace(found, study=Study.model_validate(plan))


def test_rows_are_those_with_an_interval_of_attnres(results: Results) -> None:
    first, *_, last = results.study.sizes
    multipliers = table(
        "variant model multiplier ci_low ci_high",
        ("full_attnres", SHARED, 1.1, 1.05, 1.3),
        ("block_attnres", SHARED, 1.1, 1.05, 1.3),
        ("block_attnres", "free exponents", 1.2, 1.1, 1.3),
        ("block_attnres", BOTH_OWN, 1.02, 0.9, 1.1),
        ("attnres8", SHARED, 1.1, NAN, NAN),
        ("block_attnres_x2", SHARED, 0.8, 0.7, 0.9),
    )
    gains = table(
        "variant size reasoning_gain difference ci_low ci_high",
        ("full_attnres", last, 0.1, 0.2, 0.1, 0.3),
        ("block_attnres", last, -0.1, 0.2, 0.1, 0.3),
        ("full_attnres", first, 0.1, -0.2, -0.3, -0.1),
        ("mhc", last, 0.1, 0.2, 0.1, 0.3),
    )
    growth = table(
        "variant size measure relative relative_low relative_high",
        ("prenorm", first, "output_rms", NAN, NAN, NAN),
        ("attnres8", first, "output_rms", 0.5, 0.4, 0.6),
        ("block_attnres", first, "gradient_rms", 0.5, 0.4, 0.6),
    )
    slopes = table(
        "variant over slope ci_low ci_high",
        ("block_attnres", "prenorm", 0.02, 0.01, 0.03),
        ("full_attnres_not", "prenorm", 0.02, 0.01, 0.03),
        ("block_attnres", "prenorm_own", -0.02, -0.03, -0.01),
    )
    found = claims_table(results, multipliers, gains, growth, slopes)
    assert list(found.columns) == COLUMNS
    assert list(zip(found["variant"], found["estimate"], found["verdict"], strict=True)) == [
        ("block_attnres", 1.1, REPRODUCED),
        ("block_attnres", 1.02, NOT_REPRODUCED),
        ("full_attnres", 0.2, REPRODUCED),
        ("block_attnres", 0.2, NO_GAIN),
        ("attnres8", 0.5, REPRODUCED),
        ("block_attnres", 0.02, NOT_REPRODUCED),
        ("block_attnres", -0.02, REPRODUCED),
    ]
    assert list(found["size"].dropna()) == [last, last, first]
    assert found["measure"].nunique() == 6
    assert found["measure"].iloc[-1] == DEEPER_OVER_OWN.measure
    assert list(found["ci_low"]) == [1.05, 0.9, 0.1, 0.1, 0.4, 0.01, -0.03]
    empty = claims_table(results, multipliers[:0], gains[:0], growth[:0], slopes[:0])
    other = results.study.model_copy(update={"baseline": "mhc"})
    over_another = claims_table(replace(results, study=other), multipliers, gains, growth, slopes)
    for none in (empty, over_another):
        assert none.empty
        assert list(none.columns) == COLUMNS


def test_the_page_names_every_verdict() -> None:
    for said in (REPRODUCED, ANOTHER, CANNOT_BE_TOLD, NOT_REPRODUCED, UNSEEN):
        assert said in CLAIMS
