"""The list of deliveries: look for some, select them, and go on to the plan of a replay."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import DELIVERIES
from .shop import HOOKS

pytestmark = pytest.mark.browser


def rows(page: Page) -> Locator:
    return page.locator("#result_list tbody tr")


def replay_selected(page: Page) -> None:
    page.get_by_label("Action:").select_option("Replay selected deliveries…")
    page.get_by_role("button", name="Go").click()
    expect(page).to_have_url(re.compile("/replay/plan/"))


def test_list__is_narrowed_by_a_filter_and_by_a_search(page: Page):
    page.goto(DELIVERIES)
    expect(rows(page)).to_have_count(50)
    page.locator("#changelist-filter").get_by_role("link", name="Dead").click()
    expect(rows(page)).to_have_count(3)
    expect(rows(page).locator(".perfsee-badge")).to_have_text(["Dead"] * 3)
    page.get_by_role("textbox", name="Search").fill(HOOKS["checkout"][:13])
    page.get_by_role("button", name="Search").click()
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("bundle:finished · checkout")


def test_list__leads_to_the_plan_of_those_selected(page: Page):
    page.goto(f"{DELIVERIES}?state__exact=dead")
    for row in rows(page).all()[:2]:
        row.get_by_role("checkbox").check()
    expect(page.get_by_text("2 of 3 selected")).to_be_visible()
    replay_selected(page)
    expect(page.get_by_text("2 deliveries would be run again")).to_be_visible()


def test_list__leads_to_the_plan_of_all_that_the_filter_finds(page: Page):
    page.goto(f"{DELIVERIES}?project=mobile-app")
    page.locator("#action-toggle").check()
    page.get_by_role("button", name="Select all").click()
    counted = page.locator(".actions .all").inner_text()
    number = int(re.findall(r"\d+", counted)[0])
    assert number > 50
    replay_selected(page)
    assert "keys=" not in page.url
    expect(page.get_by_text("Chosen: project mobile-app.")).to_be_visible()
    expect(page.locator(".field-shown_delivery").first).to_contain_text("mobile-app")


def test_overview__leads_to_what_needs_attention(page: Page):
    page.goto(DELIVERIES)
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="See dead deliveries").click()
    expect(rows(page)).to_have_count(3)
    page.go_back()
    page.get_by_role("link", name="Replay this group…").first.click()
    expect(page.get_by_text("would be run again")).to_be_visible()


def test_overview__has_its_charts_as_tables_too(page: Page):
    page.goto(f"{DELIVERIES}overview/")
    chart = page.get_by_role("img", name=re.compile("Deliveries by the hour"))
    expect(chart).to_be_visible()
    page.get_by_text("The same as a table").first.click()
    table = page.get_by_role("region", name="Deliveries by the hour").locator("tbody tr")
    expect(table).to_have_count(24)
    expect(table.first).to_be_visible()
