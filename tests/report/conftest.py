from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fabricate import fabricate, make_study

from attnres_eval.analysis.collect import Results, collect
from attnres_eval.report.build import build_report, study_tables
from attnres_eval.report.figures import Tables


@dataclass(frozen=True)
class Analysed:
    """A fabricated results folder and what analysis makes of it."""

    folder: Path
    results: Results
    tables: Tables


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a whole report, not to be written to."""
    folder = tmp_path_factory.mktemp("built")
    return build_report(fabricate(folder, multipliers={"block_attnres": 1.3}))


@pytest.fixture
def analysed(fabricated: Callable[..., Path]) -> Callable[..., Analysed]:
    """Makes results: keywords of `fabricate`, and `shape` for those of `make_study`."""

    def make(shape: dict[str, Any] | None = None, **keywords: Any) -> Analysed:
        folder = fabricated(study=make_study(**(shape or {})), **keywords)
        results = collect(folder)
        return Analysed(folder, results, study_tables(results))

    return make
