"""A refused request: what was wrong with it, and how it is accepted once that is mended."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from ..sites import SECRET, running_site
from .conftest import REJECTIONS, SERVER, Shop, body_about, send_with
from .watch import Watch

pytestmark = pytest.mark.browser


def test_rejection__is_accepted_once_the_secret_is_mended(page: Page, shop: Shop, watch: Watch):
    send_with("the other secret", shop.site, body_about("accepted"))
    page.goto(f"{REJECTIONS}?q=accepted")
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_text("No secret of this site made the signature")).to_be_visible()
    expect(page.get_by_text("It cannot be accepted as a delivery now.")).to_be_visible()
    expect(page.get_by_role("button", name="Accept as a delivery")).to_have_count(0)

    environment = {**shop.site.environment, "PERFSEE_SECRETS": f"the other secret,{SECRET}"}
    database_url = environment["DATABASE_URL"]
    with running_site(SERVER, database_url, environment) as mended:
        watch.origins.add(mended.origin)
        page.goto(page.url.replace(shop.site.origin, mended.origin))
        expect(page.locator(".perfsee-good")).to_contain_text("SECRETS[0]")
        page.get_by_role("button", name="Accept as a delivery").click()
        expect(page.get_by_text("Accepted as delivery").first).to_be_visible()
        expect(page.get_by_text(re.compile("by admin at"))).to_be_visible()
        expect(page.get_by_role("button", name="Accept as a delivery")).to_have_count(0)
        page.get_by_role("link", name=re.compile("^delivery ")).first.click()
        expect(page.locator(".field-project .readonly")).to_have_text("accepted")


def test_rejection__never_shows_the_signature(page: Page, shop: Shop):
    address = f"{REJECTIONS}{shop.rows['rejection']}/change/"
    page.goto(address)
    expect(page.get_by_text("sha256=… (not shown)")).to_be_visible()
    assert not re.search("sha256=[0-9a-f]{64}", page.content())


def test_rejections__are_narrowed_by_reason(page: Page):
    page.goto(REJECTIONS)
    page.locator("#changelist-filter").get_by_role("link", name="Missing signature").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
