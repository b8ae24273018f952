"""The page of a delivery: its body, what changed, what happened, and how to send it again."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from perfsee_webhooks.text import pretty_json

from ..sites import Site
from .conftest import DELIVERIES, Shop, body_about, send_many

pytestmark = pytest.mark.browser


@pytest.fixture
def clipboard(context: BrowserContext, page: Page):
    """Reads what was copied."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    return lambda: page.evaluate("navigator.clipboard.readText()")


@pytest.fixture
def dead(page: Page, shop: Shop) -> Page:
    """The page of a delivery that is dead."""
    page.goto(f"{DELIVERIES}{shop.rows['delivery']}/change/")
    return page


def test_body__folds(dead: Page):
    body = dead.locator("#perfsee-body")
    artifact = body.locator("summary", has_text='"artifact"').first
    score = body.get_by_text('"score"').first
    expect(score).to_be_visible()
    artifact.click()
    expect(score).to_be_hidden()
    artifact.click()
    expect(score).to_be_visible()
    dead.get_by_role("button", name="Fold all", exact=True).click()
    expect(score).to_be_hidden()
    expect(body.get_by_text('"payload"')).to_be_visible()
    dead.get_by_role("button", name="Unfold all").click()
    expect(score).to_be_visible()


def test_body__is_copied_byte_by_byte_or_indented(page: Page, site: Site, clipboard):
    body = body_about("copied", name='"é\u202e🔑\u0001 <b>&amp;')
    send_many(site, [body])
    page.goto(f"{DELIVERIES}?project=copied")
    page.locator("#result_list tbody a").first.click()
    page.get_by_role("button", name="Copy", exact=True).first.click()
    expect(page.get_by_role("status").first).to_have_text("Copied.")
    assert clipboard() == body.decode()
    page.get_by_role("button", name="Copy indented").click()
    expect(page.get_by_role("status").first).to_have_text("Copied.")
    assert clipboard() == pretty_json(json.loads(body))
    assert page.locator("#perfsee-body").text_content() == pretty_json(json.loads(body))


def test_body__can_be_read_without_a_script(new_context, shop: Shop):
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{DELIVERIES}{shop.rows['delivery']}/change/")
    expect(page.locator("#perfsee-body").get_by_text('"score"').first).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    page.close()


def test_timeline__has_what_to_look_at_open(dead: Page):
    moments = dead.locator(".perfsee-timeline > li")
    expect(moments.first).to_contain_text("Arrived from hook")
    expect(moments.locator(".perfsee-badge")).to_have_text(["Succeeded"] + ["Failed"] * 4)
    expect(moments.locator("details[open]")).to_have_count(1)
    expect(moments.last.get_by_text("raise HTTPError")).to_be_visible()
    earlier = moments.nth(2)
    expect(earlier.get_by_text("raise HTTPError")).to_be_hidden()
    earlier.locator("summary").click()
    expect(earlier.get_by_text("raise HTTPError")).to_be_visible()


def test_comparison__shows_what_changed_and_the_way_to_the_previous(page: Page, site: Site):
    send_many(site, [body_about("compared", score=score) for score in (57, 64)])
    page.goto(f"{DELIVERIES}?project=compared")
    page.locator("#result_list tbody a").first.click()
    changes = page.get_by_role("region", name="Changes").locator("tbody tr")
    expect(changes).to_have_text(["payload.data.project.artifact.score changed 57 64 (+7)"])
    page.get_by_role("link", name="main @ feat/webhook passed, score 57").click()
    expect(page.get_by_text("This is the first one about its subject.")).to_be_visible()


def test_neighbours__are_those_of_the_list(page: Page):
    page.goto(f"{DELIVERIES}?project=docs")
    page.locator("#result_list tbody a").nth(1).click()
    second = page.url
    project = page.locator(".field-project .readonly")
    page.get_by_role("link", name="Older").click()
    expect(page).not_to_have_url(second)
    expect(project).to_have_text("docs")
    page.get_by_role("link", name="Newer").click()
    expect(page).to_have_url(second)
    page.get_by_role("link", name="Newer").click()
    expect(project).to_have_text("docs")
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "part"),
    [("As a signed request with curl", "openssl dgst"), ("As a test with pytest", "import pytest")],
)
def test_snippet__is_copied(dead: Page, clipboard, name, part):
    snippet = dead.locator("details", has=dead.get_by_text(name))
    expect(snippet.locator("pre")).to_be_hidden()
    snippet.get_by_text(name).click()
    snippet.get_by_role("button", name="Copy").click()
    expect(snippet.get_by_role("status")).to_have_text("Copied.")
    assert clipboard() == snippet.locator("pre").text_content()
    assert part in clipboard()
