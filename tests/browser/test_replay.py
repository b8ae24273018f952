"""A replay, from its plan to its end, and the dry run before it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from ..sites import ROOT, Site
from .chat import Chat
from .conftest import DELIVERIES, PLAN, Shop

pytestmark = pytest.mark.browser

NUMBER = 1500


@pytest.fixture(scope="module", autouse=True)
def sweep(shop: Shop) -> Iterator[None]:
    """Goes on with a replay where the process that started it has left it after some seconds."""
    command = [sys.executable, "manage.py", "perfsee_sweep", "--watch", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, env=shop.site.environment, stdout=subprocess.DEVNULL
    ) as process:
        yield
        process.terminate()


@pytest.fixture(scope="module")
def long(shop: Shop) -> str:
    """The plan of a replay that takes a while."""
    shop.add_builds("replayed", NUMBER)
    return f"{PLAN}?project=replayed&receivers=all&batch_size=10"


def done(page: Page) -> int:
    counted = page.get_by_text(re.compile(rf"^\d+ of {NUMBER} done$"))
    return int(counted.inner_text().split()[0])


def wait_for_more(page: Page, than: int) -> None:
    page.wait_for_function(
        "than => parseInt(document.querySelector('[for=perfsee-settled]').textContent) > than",
        arg=than,
    )


def badge(page: Page):
    return page.locator("#perfsee-progress .perfsee-badge")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_replay__moves_by_itself_and_is_paused_resumed_and_cancelled(page: Page, long):
    page.goto(long)
    expect(page.get_by_text(f"{NUMBER} deliveries are selected")).to_be_visible()
    page.get_by_label("Reason").fill("The chat is back")
    press(page, "Start this replay")
    expect(page.get_by_text(f"of {NUMBER} deliveries is started.")).to_be_visible()
    expect(page.locator(".field-reason .readonly")).to_have_text("The chat is back")
    expect(badge(page)).to_have_text("Running")
    page.evaluate("window.isTheSame = true")
    wait_for_more(page, done(page))
    assert page.evaluate("window.isTheSame"), "the page was loaded anew"

    press(page, "Pause")
    expect(badge(page)).to_have_text("Paused")
    press(page, "Resume")
    expect(badge(page)).to_have_text("Running")
    wait_for_more(page, done(page))
    press(page, "Cancel")
    expect(badge(page)).to_have_text("Cancelled")
    expect(page.get_by_text("never looked at")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_replay__shows_its_end_by_itself(page: Page, long):
    page.goto(f"{long}&limit=60")
    press(page, "Start this replay")
    expect(badge(page)).to_have_text("Running")
    expect(badge(page)).to_have_text("Finished")
    expect(page.get_by_text("60 of 60 done")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page.get_by_role("link", name="See its deliveries").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(50)


def test_plan__is_made_anew_with_other_answers(page: Page):
    page.goto(f"{PLAN}?states=dead")
    expect(page.get_by_text("3 deliveries would be run again")).to_be_visible()
    page.get_by_role("textbox", name="Project").fill("checkout")
    press(page, "Show the plan")
    expect(page.get_by_text("1 delivery would be run again")).to_be_visible()
    page.get_by_role("spinbutton", name="At most").fill("0")
    press(page, "Show the plan")
    expect(page.get_by_text("greater than or equal to 1")).to_be_visible()
    expect(page.get_by_role("button", name="Start this replay")).to_have_count(0)


def test_dry_run__shows_what_was_taken_back(page: Page, shop: Shop, site: Site, chat: Chat):
    chat.status = 503
    page.goto(f"{DELIVERIES}{shop.rows['delivery']}/change/")
    runs = page.locator(".perfsee-timeline .perfsee-badge").count()
    page.get_by_role("link", name="Dry run…").click()
    for receiver in page.get_by_role("checkbox").all():
        receiver.check()
    press(page, "Run dry")
    expect(page.locator(".perfsee-timeline .perfsee-badge")).to_have_text(["Succeeded", "Failed"])
    expect(page.get_by_text("HTTP Error 503").first).to_be_visible()
    expect(page.get_by_text("SQL statement").first).to_be_visible()
    page.get_by_label("announce_score").uncheck()
    press(page, "Run dry again")
    expect(page.locator(".perfsee-timeline .perfsee-badge")).to_have_text(["Succeeded"])
    page.get_by_role("link", name="Back to the delivery").click()
    expect(page.locator(".perfsee-timeline .perfsee-badge")).to_have_count(runs)
