"""A headless Chromium and every kind of page, for the tests of what a reader meets."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricate import fabricate, make_study
from sweeps import rates_study

from attnres_eval.report.build import build_report
from attnres_eval.report.compare import compare_studies
from attnres_eval.report.paper import reproduce_paper
from attnres_eval.study_file import Source
from attnres_eval.sweep.origin import write_origin
from attnres_eval.sweep.parts import claim_parts

NEEDED = "ATTNRES_EVAL_NEEDS_BROWSER"
"""Set to 1 where a missing browser is a failure and no reason to skip."""
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PROTOCOL = "# Why\n\nSince *we* ask.\n\n| a | b |\n| - | - |\n| 1 | 2 |\n"


def missing() -> str | None:
    """What these tests lack; None where they lack nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: pip install -r requirements-dev.txt"
    if not any(map(shutil.which, CHROMIUMS)):
        return f"no {' or '.join(CHROMIUMS)} on PATH: apt-get install chromium"
    return None


@pytest.fixture(scope="session")
def browser_path() -> str:
    if (reason := missing()) is not None:
        if os.environ.get(NEEDED) == "1":
            pytest.fail(f"{NEEDED} is 1, but {reason}", pytrace=False)
        pytest.skip(reason)
    return next(filter(None, map(shutil.which, CHROMIUMS)))


# Not for the session: while it is open, nothing else in the process can start an event loop.
@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "plain": {"java_script_enabled": False},
}
"""How a page can be looked at; `plain` runs no scripts."""


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Opens a kind of page in a look, `light` by default; the clipboard may be read."""
    contexts = []

    def open_page(kind: str, look: str = "light") -> Any:
        context = browser.new_context(**LOOKS[look])
        contexts.append(context)
        context.set_default_timeout(10_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(pages[kind].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def pages(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, of fabricated results; built only where there is a browser."""
    folder = tmp_path_factory.mktemp("pages")
    true = {"block_attnres": 1.3}
    study = fabricate(
        folder / "study",
        multipliers=true,
        step_times={"block_attnres": 1.1},
        missing=["full_attnres-d32-s0"],
    )
    sweep = fabricate(folder / "sweep", study=rates_study(), multipliers={"mhc_x2": 1.9})
    claim_parts(folder / "parts", "mine", ["rates", "ladder", "later"], "ladder")
    write_origin(folder / "parts", Source("mine.yaml", "a" * 64, PROTOCOL))
    small = make_study(n_sizes=2, tasks=[])
    parts = [folder / "parts" / name for name in ("rates", "ladder")]
    for number, part in enumerate(parts):
        fabricate(part, study=small, multipliers=true, inspected=False, random_seed=number)
    return {
        "study": build_report(study),
        "sweep": build_report(sweep),
        "parts": build_report(folder / "parts"),
        "compare": compare_studies([(str(one), one) for one in parts], folder / "compare"),
        "paper": reproduce_paper(folder / "paper"),
    }
