"""All of it by keyboard: whatever has the focus can be seen to have it, and is worked by a key."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import DELIVERIES, Shop
from .watch import NARROWEST

pytestmark = pytest.mark.browser

MOST_STEPS = 150
IS_FOCUSED = "element => element === document.activeElement"


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Go on to an element by the Tab key, and see that the focus shows."""
    for _ in range(MOST_STEPS):
        page.keyboard.press(key)
        if target.evaluate(IS_FOCUSED):
            break
    assert target.evaluate(IS_FOCUSED), f"Tab does not lead to {target}"
    page.mouse.move(0, 0)
    focused = picture_of(page, target)
    target.evaluate("element => element.blur()")
    assert picture_of(page, target) != focused, f"the focus on {target} does not show"
    target.focus()


def picture_of(page: Page, target: Locator) -> bytes:
    box = target.bounding_box()
    assert box
    x, y, width, height = box["x"] - 6, box["y"] - 6, box["width"] + 12, box["height"] + 12
    return page.screenshot(
        clip={"x": x, "y": y, "width": width, "height": height},
        animations="disabled",
        caret="hide",
    )


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, new_context):
    return new_context(color_scheme=request.param).new_page()


def test_list__is_filtered_by_keyboard(page: Page):
    page.goto(DELIVERIES)
    tab_to(page, page.locator("#changelist-filter").get_by_role("link", name="Dead"))
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    tab_to(page, page.locator("#result_list tbody a").first)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/change/"))


def test_detail__is_folded_and_copied_by_keyboard(page: Page, shop: Shop):
    page.goto(f"{DELIVERIES}{shop.rows['delivery']}/change/")
    earlier = page.locator(".perfsee-timeline details:not([open]) > summary").first
    traceback = page.locator(".perfsee-timeline pre").first
    tab_to(page, earlier)
    page.keyboard.press("Enter")
    expect(traceback).to_be_visible()
    artifact = page.locator("#perfsee-body summary", has_text='"artifact"').first
    score = page.locator("#perfsee-body").get_by_text('"score"').first
    tab_to(page, page.get_by_role("button", name="Fold all", exact=True))
    page.keyboard.press("Space")
    expect(score).to_be_hidden()
    tab_to(page, page.get_by_role("button", name="Unfold all"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(score).to_be_visible()
    tab_to(page, artifact)
    page.keyboard.press("Space")
    expect(score).to_be_hidden()
    tab_to(page, page.get_by_text("As a signed request with curl"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("openssl dgst")).to_be_visible()


@pytest.fixture(scope="module")
def long(shop: Shop) -> str:
    """The list of deliveries whose replay takes a while."""
    shop.add_builds("by-keyboard", 600)
    return f"{DELIVERIES}?project=by-keyboard"


@pytest.mark.parametrize("page", ["light"], indirect=True)
def test_replay__is_started_paused_and_cancelled_by_keyboard(page: Page, long):
    page.goto(long)
    badge = page.locator("#perfsee-progress .perfsee-badge")
    tab_to(page, page.locator("#action-toggle"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_label("Action:"), "Shift+Tab")
    page.keyboard.type("Replay")
    tab_to(page, page.get_by_role("button", name="Go"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Select all")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Go").press("Enter")
    tab_to(page, page.get_by_label("Only receivers that have not succeeded"))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("All receivers")).to_be_checked()
    tab_to(page, page.get_by_role("button", name="Show the plan"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Reason"))
    page.keyboard.type("By keyboard")
    tab_to(page, page.get_by_role("button", name="Start this replay"))
    page.keyboard.press("Enter")
    expect(badge).to_have_text("Running")
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Space")
    expect(badge).to_have_text("Paused")
    for name in ("Resume", "Cancel"):
        tab_to(page, page.get_by_role("button", name=name))
    page.keyboard.press("Enter")
    expect(badge).to_have_text("Cancelled")


def test_board__is_scrolled_by_keyboard(page: Page):
    page.set_viewport_size(NARROWEST)
    page.goto("/")
    table = page.get_by_role("region", name="Bundles")
    tab_to(page, table)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.scroll').scrollLeft > 0")
