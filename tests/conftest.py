from collections.abc import Callable, Iterator
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


@pytest.fixture
def tiles() -> Iterator[None]:
    """Skips where kernels have no matrix tiles; puts this process' setting of them back."""
    from attnres_eval.model.kernels.switch import tiles_used, use_tiles

    before = use_tiles(True)
    there = tiles_used()
    use_tiles(before)
    if not there:
        pytest.skip("no matrix tiles (AMX) on this machine, or none that its compiler knows")
    yield
    use_tiles(before)
