from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Benchmarks, corpora and published numbers that lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data folder, which is not at {SHARED}")
    return SHARED
