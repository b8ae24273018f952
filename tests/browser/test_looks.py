"""Each page in light and dark, in a narrow and a wide window: axe finds no barrier, nothing is cut.

A screenshot of each is left in the folder that SCREENSHOTS names, for a person to look at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has none
from playwright.sync_api import Page

from .conftest import DELIVERIES, OVERVIEW, PLAN, REJECTIONS, REPLAYS, WIDE, Shop
from .watch import NARROWEST

pytestmark = pytest.mark.browser

PAGES = {
    "board": "/",
    "overview": OVERVIEW,
    "list": f"{DELIVERIES}?state__exact=dead",
    "list-empty": f"{DELIVERIES}?q=nothing",
    "detail": f"{DELIVERIES}{{delivery}}/change/",
    "plan": f"{PLAN}?states=dead&receivers=all",
    "plan-errors": f"{PLAN}?limit=0",
    "dry-run": f"{DELIVERIES}{{delivery}}/dry-run/",
    "dry-run-result": f"{DELIVERIES}{{delivery}}/dry-run/",
    "replays": REPLAYS,
    "replay": f"{REPLAYS}{{replay}}/change/",
    "rejections": REJECTIONS,
    "rejection": f"{REJECTIONS}{{rejection}}/change/",
}
# What is pressed on a page before it is looked at.
PRESSED = {"dry-run-result": "Run dry"}
# What Django's own markup does, which no template of ours writes: by rule, and where it does.
OF_DJANGO = {
    # The label of the search field is an image, whose text a reader hears and axe does not see.
    "label-title-only": "#searchbar",
    # Links there have another colour than the text around them, and no line.
    "link-in-text-block": "div.breadcrumbs, #changelist-search",
}
# What sticks out of an element that hides what does, other than what only a screen reader is told.
_CUT_OFF = """
[...document.querySelectorAll("body *")]
  .filter((element) => getComputedStyle(element).overflowX === "hidden")
  .filter((element) => element.clientWidth > 1 && element.scrollWidth > element.clientWidth)
  .map((element) => `${element.tagName} ${element.className}: ${element.textContent.trim()}`)
"""
_UNTIL_NOTHING_MOVES = """
new Promise(requestAnimationFrame)
  .then(() => Promise.allSettled(document.getAnimations().map((one) => one.finished)))
  .then(() => null)
"""


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_page__has_no_barrier_in_any_window(name, page: Page, shop: Shop, new_context, screenshots):
    open_page(page, name, shop)
    for looks in in_each_window(page, name):
        page.screenshot(path=screenshots / f"{looks}.png", full_page=True)
        assert page.evaluate(_CUT_OFF) == [], looks

    # axe puts styles of its own into the page, which the policy of the site forbids.
    examined = new_context(bypass_csp=True).new_page()
    open_page(examined, name, shop)
    examined.evaluate("document.querySelectorAll('details').forEach((part) => part.open = true)")
    found = [
        f"{looks}: {one}" for looks in in_each_window(examined, name) for one in barriers(examined)
    ]
    assert not found, "\n".join(found)


def open_page(page: Page, name: str, shop: Shop) -> None:
    page.goto(PAGES[name].format(**shop.rows))
    if name in PRESSED:
        page.get_by_role("button", name=PRESSED[name]).click()


def in_each_window(page: Page, name: str) -> Iterator[str]:
    """Make the window wide and narrow, and the page light and dark; name each of the four."""
    for window in (WIDE, NARROWEST):
        page.set_viewport_size(window)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            # A colour on its way to another one is none that anybody reads.
            page.evaluate(_UNTIL_NOTHING_MOVES)
            yield f"{name}-{scheme}-{window['width']}"


def barriers(page: Page) -> list[str]:
    """Return the serious and the critical violations, each with what is wrong with it."""
    return [
        f"{rule['id']} ({rule['impact']}) at {target}: {node['failureSummary']}"
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        for target in node["target"]
        if not is_of_django(page, rule["id"], target)
    ]


def is_of_django(page: Page, rule: str, target: str) -> bool:
    place = OF_DJANGO.get(rule)
    is_within = "(element, place) => element.closest(place) !== null"
    return bool(place and page.locator(target).first.evaluate(is_within, place))
