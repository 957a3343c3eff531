"""Charts as a reader meets them: drawn, hidden by variant, switched, in the dark, on paper."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from attnres_eval.report.style import DARK, LIGHT

Open = Callable[..., Any]

DRAWN = "figure .chart[data-drawn]"
DRAW_ALL = """async () => {
  for (const figure of document.querySelectorAll("figure:has(.chart-data)")) {
    figure.scrollIntoView();
    while (!figure.querySelector(".chart[data-drawn]")) {
      await new Promise((next) => setTimeout(next, 50));
    }
  }
  scrollTo(0, 0);
}"""
"""Draws every chart, as a reader does who scrolls through the page."""


def drawn(opened: Open, kind: str, look: str = "light") -> Any:
    page = opened(kind, look)
    page.set_default_timeout(60_000)
    page.evaluate(DRAW_ALL)
    return page


def chart(page: Any, title: str) -> Any:
    """The figure of a title, with its chart."""
    return page.locator("figure", has=page.locator(f'figcaption strong:text-is("{title}.")'))


def data(figure: Any) -> dict[str, Any]:
    return dict(json.loads(figure.locator(".chart-data").text_content()))


def symbols(figure: Any, panel: int = 0) -> Any:
    """The markers of a panel that tell something."""
    return figure.locator(".chart > div").nth(panel).locator(".mark-symbol path[aria-label]")


@pytest.mark.parametrize("kind", ["study", "sweep", "parts", "compare"])
def test_every_chart_of_a_page_is_drawn_without_an_error(opened: Open, kind: str) -> None:
    page = opened(kind)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text))
    page.reload()
    page.set_default_timeout(60_000)
    page.evaluate(DRAW_ALL)
    figures = page.locator("figure:has(.chart-data)")
    assert figures.count() > 0
    assert page.locator(DRAWN).count() == figures.count()
    assert page.locator("figure.charted").count() == figures.count()
    assert errors == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_charts_have_a_marker_for_every_row_of_their_tables(opened: Open) -> None:
    page = drawn(opened, "study")
    scaling = chart(page, "Loss over compute")
    assert symbols(scaling).count() == len(data(scaling)["data"]["runs"]["run"]) == 26
    multipliers = chart(page, "Compute multipliers")
    rows = data(multipliers)["data"]["multipliers"]
    assert symbols(multipliers).count() == len(rows["row"])
    known = [low for low in rows["ci_low"] if low is not None]
    bars = multipliers.locator(".mark-rule line[aria-label*='95% interval']")
    assert bars.count() == len(known) > 0
    differences = chart(page, "Against PreNorm")
    assert symbols(differences).count() == len(data(differences)["data"]["differences"]["row"])


def test_a_variant_is_hidden_in_every_chart_at_once(opened: Open) -> None:
    page = drawn(opened, "study")
    page.locator(".variants").evaluate("(box) => { box.open = true; }")
    button = page.locator(".variants").get_by_role("button", name="Block AttnRes", exact=True)
    assert button.get_attribute("aria-pressed") == "true"
    scaling, training = chart(page, "Loss over compute"), chart(page, "Training loss")
    before = symbols(scaling).count()
    lines = training.locator(".chart > div").first.locator(".mark-line path")
    assert lines.count() == 3

    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "!document.querySelector('figure.charted .chart svg').outerHTML.includes('Block AttnRes')"
    )
    runs = data(scaling)["data"]["runs"]["label"]
    assert button.get_attribute("aria-pressed") == "false"
    assert symbols(scaling).count() == before - runs.count("block_attnres")
    assert lines.count() == 2
    for figure in page.locator("figure.charted").all():
        assert figure.locator("svg [aria-label*='Block AttnRes']").count() == 0
        pressed = figure.locator(".key button", has_text="Block AttnRes")
        assert {one.get_attribute("aria-pressed") for one in pressed.all()} <= {"false"}
    assert "2 of 3 shown" in page.locator(".variants summary").inner_text()

    page.get_by_role("button", name="Show all").click()
    assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_function(
        "document.querySelector('figure.charted .chart svg').outerHTML.includes('Block AttnRes')"
    )
    assert symbols(scaling).count() == before


def test_rates_of_a_variant_are_hidden_together_or_alone(opened: Open) -> None:
    page = drawn(opened, "sweep")
    page.locator(".variants").evaluate("(box) => { box.open = true; }")
    group = page.locator(".variants").get_by_role("group", name="mHC", exact=True)
    whole, *rates = group.get_by_role("button").all()
    assert len(rates) == 3
    rates[0].click()
    assert whole.get_attribute("aria-pressed") == "mixed"
    panels = chart(page, "Loss over the learning rate").locator(".chart > div:not([hidden])")
    n_panels = panels.count()
    # A click on a variant of which some are hidden shows them all; the next hides them.
    whole.click()
    assert {rate.get_attribute("aria-pressed") for rate in rates} == {"true"}
    whole.click()
    assert {rate.get_attribute("aria-pressed") for rate in rates} == {"false"}
    assert panels.count() == n_panels - 1


def test_switches_change_axis_and_values(opened: Open) -> None:
    page = drawn(opened, "study")
    scaling = chart(page, "Loss over compute")
    told = symbols(scaling).first
    assert scaling.get_by_text("Validation loss (nats per token)").count() == 1
    before = told.get_attribute("d"), told.get_attribute("transform")

    scaling.get_by_role("radio", name="bits per byte").check()
    scaling.get_by_text("Validation loss (bits per byte)").wait_for()
    assert scaling.get_by_text("Validation loss (nats per token)").count() == 0
    scaling.get_by_role("radio", name="time").check()
    scaling.get_by_text("Training time (calibrated seconds)").first.wait_for()
    assert scaling.get_by_text("Training compute (FLOPs)").count() == 0
    scaling.get_by_text("Validation loss (bits per byte)").wait_for()
    assert symbols(scaling).count() == 26
    after = told.get_attribute("d"), told.get_attribute("transform")
    assert after != before


def test_pointing_at_a_run_tells_its_name_and_numbers(opened: Open) -> None:
    page = drawn(opened, "study")
    scaling = chart(page, "Loss over compute")
    runs = data(scaling)["data"]["runs"]
    point = symbols(scaling).first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    text = tip.inner_text()
    run = next(name for name in runs["run"] if name in text)
    place = runs["run"].index(run)
    assert f"{runs['tokens'][place]:,}" in text
    assert f"{runs['loss'][place]:.4g}"[:5] in text


def test_arrow_keys_read_the_points(opened: Open) -> None:
    page = drawn(opened, "study")
    scaling = chart(page, "Loss over compute")
    box = scaling.locator(".chart")
    alt = scaling.locator("img").get_attribute("alt")
    assert box.get_attribute("aria-label").startswith(alt)
    box.focus()
    page.keyboard.press("ArrowRight")
    told = scaling.locator("[aria-live]")
    first = told.inner_text()
    assert "Nats per token" in first
    assert page.locator("#vg-tooltip-element.visible").count() == 1
    page.keyboard.press("ArrowRight")
    assert told.inner_text() != first
    page.keyboard.press("Escape")
    assert page.locator("#vg-tooltip-element.visible").count() == 0


def fills(page: Any) -> set[str]:
    found = page.evaluate(
        "[...document.querySelectorAll('.chart .mark-symbol path[fill^=\"#\"]')]"
        ".map((path) => path.getAttribute('fill').toLowerCase())"
    )
    return set(found)


def test_colours_follow_the_scheme_while_the_page_is_open(opened: Open) -> None:
    page = drawn(opened, "study")
    light, dark = ({colour.lower() for colour in theme.colours} for theme in (LIGHT, DARK))
    assert fills(page) & light
    assert not fills(page) & dark
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "document.querySelector('.chart .mark-symbol path[fill=\"#EDEDED\" i]') !== null"
    )
    page.evaluate(DRAW_ALL)
    page.wait_for_timeout(1500)
    assert fills(page) & dark
    assert not fills(page) & light


def test_without_scripts_the_pictures_stand(opened: Open) -> None:
    page = opened("study", "plain")
    pictures = page.locator("figure img")
    assert pictures.count() > 0
    assert all(one.is_visible() for one in pictures.all())
    assert page.locator(".chart, .variants").count() == 0


def test_paper_has_the_light_pictures_and_no_charts(opened: Open) -> None:
    page = drawn(opened, "study", "dark")
    assert not page.locator("figure.charted img").first.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    figure = page.locator("figure.charted").first
    assert figure.locator("img").is_visible()
    assert not figure.locator(".chart").is_visible()
    assert not page.locator(".variants").is_visible()
    source = figure.locator("img").evaluate("(image) => image.currentSrc === image.src")
    assert source


def test_a_chart_that_fails_leaves_its_picture(opened: Open, pages: dict[str, Any]) -> None:
    page = opened("study")
    page.route(
        re.compile("report.html"),
        lambda route: route.fulfill(
            body=pages["study"].read_text(encoding="utf-8").replace('"type":"rule"', '"type":"no"'),
            content_type="text/html",
        ),
    )
    page.reload()
    figure = chart(page, "Compute multipliers")
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(3000)
    assert figure.locator("img").is_visible()
    assert figure.locator(".chart").count() == 0


@pytest.mark.parametrize("kind", ["study", "sweep", "parts"])
def test_a_phone_has_no_sideways_page(opened: Open, kind: str) -> None:
    page = drawn(opened, kind, "phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.evaluate(
        "[...document.querySelectorAll('.chart svg')]"
        ".filter((svg) => svg.getBoundingClientRect().right > 391).length"
    )
    assert wide == 0
