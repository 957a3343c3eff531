from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricate import fabricate

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Benchmarks, corpora and published numbers that lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder, which is not at {SHARED}")
    return SHARED


@pytest.fixture
def fabricated(tmp_path: Path) -> Callable[..., Path]:
    """Makes a results folder with a known truth: `fabricated(**keywords of fabricate)`."""

    def make(**keywords: Any) -> Path:
        return fabricate(tmp_path / "fabricated", **keywords)

    return make
