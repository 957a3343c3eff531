"""Where there is no browser these tests are skipped, or fail where one is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("needed", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_without_a_browser(needed: str, outcome: str, tmp_path: Path) -> None:
    test = "tests/report/browser/test_page.py::test_an_error_would_be_heard"
    # No folder of PATH holds a browser.
    changed = {"PATH": str(tmp_path), "ATTNRES_EVAL_NEEDS_BROWSER": needed}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", test],
        cwd=ROOT,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
    )
    assert outcome in found.stdout
    assert "no chromium or chromium-browser or google-chrome on PATH" in found.stdout
    assert (found.returncode == 0) == (not needed)
