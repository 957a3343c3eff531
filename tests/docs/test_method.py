"""The method page names every module of the analysis, and its examples print what it says."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "method.md"
MODULES = sorted((ROOT / "attnres_eval" / "analysis").glob("[!_]*.py"))


def run_examples(text: str) -> doctest.TestResults:
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, None, 0)
    return doctest.DocTestRunner(verbose=False).run(test)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_every_module_of_the_analysis_is_on_the_page(module: Path) -> None:
    assert f"](../attnres_eval/analysis/{module.name})" in PAGE.read_text(encoding="utf-8")


def test_examples() -> None:
    text = PAGE.read_text(encoding="utf-8")
    # The fence's end would be read as output.
    found = run_examples(text.replace("```", ""))
    assert found.attempted >= 20
    assert found.failed == 0


def test_the_test_of_examples_can_fail() -> None:
    assert run_examples(">>> 1 + 1\n3\n").failed == 1


def test_what_the_page_says_of_the_defaults() -> None:
    from attnres_eval.analysis import (
        clustered,
        coverage,
        intervals,
        irreducible,
        parametric,
        pooled,
    )
    from attnres_eval.analysis.paper import ROUNDING_DRAWS

    text = re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8"))
    starts = len(irreducible.E_STARTS) * len(irreducible.ALPHA_STARTS)
    both = len(parametric.E_SHARE_STARTS) * len(parametric.A_SHARE_STARTS)
    both *= len(parametric.EXPONENT_STARTS) ** 2
    for said in (
        f"every interval is one of {intervals.CONFIDENCE:.0%}",
        f"a grid of {starts} starts",
        f"from {both} starts",
        f"{parametric.RESAMPLES} bootstrap samples",
        f"up to {coverage.DRAWS:,} drawn studies",
        f"seen in {clustered.POWER:.0%} of such studies",
        f"F-test at {pooled.SPREAD_LEVEL:.1%}",
        f"{ROUNDING_DRAWS:,} draws",
        f"p < {irreducible.SIGNIFICANCE:.2f}".replace("0.", "."),
    ):
        assert said in text, said
    assert irreducible.HUBER_DELTA == 1e-3
    assert irreducible.MIN_SIZES == 4
