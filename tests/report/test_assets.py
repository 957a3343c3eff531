"""What the page holds inside of its script and style elements."""

import re
from pathlib import Path

import pytest

from attnres_eval.report.assets import asset, embeddable
from attnres_eval.report.style import THEMES, Theme

LEAST_CONTRAST = 4.5
"""Of text: WCAG 2.2, 1.4.3 (AA)."""


def luminance(colour: str) -> float:
    """WCAG's relative luminance of `#rrggbb`."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("ink", ["text", "quiet", "link"])
@pytest.mark.parametrize("ground", ["page", "soft"])
def test_text_can_be_read(theme: Theme, ink: str, ground: str) -> None:
    assert contrast(getattr(theme, ink), getattr(theme, ground)) >= LEAST_CONTRAST


def test_colours_come_from_the_theme() -> None:
    assert not re.search(r"#[0-9a-f]{3,8}\b|\brgb|\bhsl", asset("report.css"), re.IGNORECASE)


@pytest.mark.parametrize("text", ["'</script>'", "'</SCRIPT x'", "'</style>'", "'<!-- x'"])
def test_nothing_in_a_script_ends_it(text: str) -> None:
    embedded = embeddable(text)
    assert not re.search(r"<(/script|/style|!--)", embedded, re.IGNORECASE)
    assert embedded.replace("\\", "") == text


def test_the_rest_of_a_script_stays() -> None:
    text = "if (a</x/.test(b)) c = a < b && '&amp;';"
    assert embeddable(text) == text


def test_the_page_holds_both(built: Path) -> None:
    page = built.read_text(encoding="utf-8")
    for name in ("report.css", "report.js"):
        assert asset(name) in page
