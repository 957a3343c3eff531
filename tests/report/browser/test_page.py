"""Every kind of page as it opens: quiet, alone, in all looks, by keyboard."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# One process has the browser and builds the pages.
pytestmark = pytest.mark.xdist_group("browser")
KINDS = ("study", "sweep", "parts", "compare", "paper")
Opened = Callable[..., Any]

CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, noscript")) continue;
    const [dark, bright] = [getComputedStyle(element).color, ground(element)]
      .map(light).sort((a, b) => a - b);
    found.push([(bright + 0.05) / (dark + 0.05), walk.currentNode.data.trim()]);
  }
  return found;
}"""
"""Of every text that is shown: its contrast with what is behind it, and the text."""


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_without_a_word_and_without_a_request(
    browser: Any, pages: dict[str, Path], kind: str
) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[kind].as_uri())
    page.wait_for_timeout(200)
    context.close()
    assert said == []
    assert asked[0] == pages[kind].as_uri()
    assert not [url[:80] for url in asked[1:] if not url.startswith(("data:", "blob:"))]


def test_an_error_would_be_heard(browser: Any) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.set_content("<script>absent()</script>")
    page.close()
    assert said == ["absent is not defined"]


@pytest.mark.parametrize("look", ["phone", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_no_wider_than_the_screen(opened: Opened, kind: str, look: str) -> None:
    page = opened(kind, look)
    if look == "plain":
        page.set_viewport_size({"width": 390, "height": 844})
    width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner == 390


@pytest.mark.parametrize("kind", KINDS)
def test_links_lead_to_headings_that_can_be_seen(opened: Opened, kind: str) -> None:
    page = opened(kind)
    links = page.locator("nav a")
    assert links.count() > 3
    for link in links.all():
        link.click()
        heading = page.locator(f"[id='{link.get_attribute('href').removeprefix('#')}']")
        assert heading.inner_text() == link.inner_text()
        assert re.fullmatch("H[2-6]", heading.evaluate("e => e.tagName"))
        box = heading.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < page.viewport_size["height"]


@pytest.mark.parametrize("kind", KINDS)
def test_headings_and_landmarks(opened: Opened, kind: str) -> None:
    page = opened(kind)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => h.tagName)"
    )
    numbers = [int(level[1]) for level in levels]
    assert numbers[0] == 1
    assert numbers.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(numbers))
    for landmark in ("banner", "main", "navigation", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_text_can_be_read(opened: Opened, kind: str, look: str) -> None:
    page = opened(kind, look)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 50
    assert [pair for pair in found if pair[0] < 4.5] == []


def test_the_schemes_are_different(opened: Opened) -> None:
    grounds = [
        opened("study", look).evaluate("getComputedStyle(document.body).backgroundColor")
        for look in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]


def controls(page: Any) -> int:
    """How many stops the Tab key has on the page: of radio buttons one a group."""
    number: int = page.evaluate(
        "[...document.querySelectorAll("
        "  'a[href], button, summary, input, select, [tabindex=\"0\"]')]"
        ".filter(one => one.checkVisibility() && !one.disabled && one.tabIndex === 0"
        "  && (one.type !== 'radio' || one.checked)).length"
    )
    return number


@pytest.mark.parametrize("kind", KINDS)
def test_the_tab_key_reaches_every_control_and_shows_where_it_is(opened: Opened, kind: str) -> None:
    page = opened(kind)
    # A chart takes its picture's place as the page is scrolled.
    page.evaluate(
        "async () => { for (const one of document.querySelectorAll('figure:has(.chart-data)')) {"
        " one.scrollIntoView(); while (!one.querySelector('.chart[data-drawn]'))"
        " await new Promise(next => setTimeout(next, 50)); } scrollTo(0, 0);"
        # The Tab key begins where the page was last scrolled to.
        " document.body.tabIndex = -1; document.body.focus();"
        " document.body.removeAttribute('tabindex'); }"
    )
    expected, reached = controls(page), []
    page.evaluate("window.seen = new Set()")
    for _ in range(expected):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(() => { const at = document.activeElement; seen.add(at);"
                " const style = getComputedStyle(at); const box = at.getBoundingClientRect();"
                " return at !== document.body && style.outlineStyle === 'solid'"
                " && parseFloat(style.outlineWidth) >= 2 && box.right > 0 && box.width > 0; })()"
            )
        )
    assert all(reached)
    assert page.evaluate("seen.size") == expected
    # And out again: no trap at the end.
    page.keyboard.press("Tab")
    assert page.evaluate(
        "document.activeElement === document.body || seen.has(document.activeElement)"
    )


def test_the_skip_link_leads_past_the_top(opened: Opened) -> None:
    page = opened("study")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = page.locator(".skip").bounding_box()
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"


def test_without_scripts_there_are_no_controls(opened: Opened) -> None:
    page = opened("study", "plain")
    assert page.locator("button").count() == 0
    assert page.locator(".tools").count() == 0
    assert page.locator("thead th").first.inner_text()
    page.locator("summary").first.click()
    assert page.locator("details table").first.is_visible()


@pytest.mark.parametrize("look", ["light", "plain"])
def test_paper_has_no_controls_and_all_tables(opened: Opened, look: str) -> None:
    page = opened("study", look)
    folded = page.locator("details table")
    assert folded.count() > 2
    assert not folded.first.is_visible()
    page.emulate_media(media="print")
    assert all(table.is_visible() for table in folded.all())
    assert not any(button.is_visible() for button in page.locator(".tools button").all())
    assert not page.locator("nav").is_visible()
    signs = page.evaluate(
        "[...document.querySelectorAll('.sort')].flatMap(one => ['::before', '::after']"
        ".filter(sign => getComputedStyle(one, sign).content !== 'none')"
        ".map(sign => getComputedStyle(one, sign).display))"
    )
    assert set(signs) <= {"none"}


def test_dark_readers_print_on_white(opened: Opened) -> None:
    page = opened("study", "dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_what_was_folded_is_folded_again_after_printing(opened: Opened) -> None:
    page = opened("study")
    shut = page.locator("details:not([open])").count()
    assert shut > 2
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == shut
