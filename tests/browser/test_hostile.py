"""Markup in what was sent is text on each page, and marks that turn the direction never show."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from .conftest import (
    DELIVERIES,
    OVERVIEW,
    PLAN,
    REJECTIONS,
    REPLAYS,
    Shop,
    body_about,
    send_many,
    send_with,
)

pytestmark = pytest.mark.browser

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
PROJECT = f'"onmouseover="alert(3)" {MARKUP}\u202etxt.exe'
SHOWN = PROJECT.replace("\u202e", "\N{REPLACEMENT CHARACTER}")

INJECTED = "[onmouseover], [onerror], img[src=x], script:not([src])"


@pytest.fixture(scope="module")
def hostile(shop: Shop) -> dict[str, int]:
    """The primary keys of a delivery and of a refused request that try it all."""
    named = {"name": MARKUP, "branch": PROJECT}
    bodies = [body_about(PROJECT, **named, failedReason=f"{MARKUP}{x}") for x in range(2)]
    send_many(shop.site, bodies)
    send_with("wrong", shop.site, bodies[0])
    shop.site.manage("perfsee_replay", f"--project={SHOWN}", "--all", f"--reason={MARKUP}", "--yes")
    keys = "Delivery.objects.latest('pk').pk, Rejection.objects.latest('pk').pk, "
    found = shop.site.query(f"[{keys} Replay.objects.latest('pk').pk]")
    return dict(zip(("delivery", "rejection", "replay"), json.loads(found), strict=True))


# What is looked at, and the text that it has to show.
PAGES = {
    "search": (f"{DELIVERIES}?q={quote(SHOWN[:12])}", MARKUP),
    "filter": (f"{DELIVERIES}?project={quote(SHOWN)}", SHOWN),
    "detail": (f"{DELIVERIES}{{delivery}}/change/", SHOWN),
    "dry run": (f"{DELIVERIES}{{delivery}}/dry-run/", MARKUP),
    "overview": (OVERVIEW, SHOWN),
    "plan": (f"{PLAN}?project={quote(SHOWN)}", SHOWN),
    "replay": (f"{REPLAYS}{{replay}}/change/", MARKUP),
    "replays": (REPLAYS, MARKUP),
    "rejections": (f"{REJECTIONS}?q={quote(SHOWN[:12])}", SHOWN),
    "rejection": (f"{REJECTIONS}{{rejection}}/change/", SHOWN),
    "board": ("/", SHOWN),
}


@pytest.mark.parametrize("name", PAGES)
def test_markup__is_shown_as_text(name, page: Page, hostile: dict[str, int]):
    address, shown = PAGES[name]
    page.goto(address.format(**hostile))
    expect(page.locator("body")).to_contain_text(shown)
    expect(page.locator(INJECTED)).to_have_count(0)
    assert "\u202e" not in page.locator("html").inner_text()
    for part in page.locator("details").all():
        part.evaluate("part => part.open = true")
    assert "\u202e" not in page.locator("html").inner_text()
