"""What somebody sees who may only look, or who may not even do that."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import DELIVERIES, OVERVIEW, PLAN, REJECTIONS, REPLAYS
from .watch import Watch

pytestmark = pytest.mark.browser

DOORS = (
    "Replay…",
    "Replay selected deliveries…",
    "Replay this group…",
    "Plan a replay…",
    "Dry run…",
    "Pause",
    "Resume",
    "Cancel",
    "Accept as a delivery",
)
FORBIDDEN = "403 (Forbidden)"
DETAIL = f"{DELIVERIES}{{delivery}}/change/"
DRY_RUN = f"{DELIVERIES}{{delivery}}/dry-run/"
REPLAY = f"{REPLAYS}{{replay}}/change/"
REJECTION = f"{REJECTIONS}{{rejection}}/change/"


@pytest.mark.parametrize("address", [DETAIL, REPLAY, REJECTION, OVERVIEW, DELIVERIES, REPLAYS])
def test_viewer__sees_no_button_that_would_be_refused(address, new_context, shop):
    page = new_context("viewer").new_page()
    answer = page.goto(address.format(**shop.rows))
    assert answer.status == 200
    for name in DOORS:
        for role in ("link", "button", "option"):
            expect(page.get_by_role(role, name=name, exact=True)).to_have_count(0)


@pytest.mark.parametrize(
    ("person", "address"),
    [
        ("viewer", PLAN),
        ("viewer", DRY_RUN),
        *(
            ("stranger", address)
            for address in (DELIVERIES, DETAIL, OVERVIEW, REPLAYS, REPLAY, REJECTIONS, REJECTION)
        ),
    ],
)
def test_stranger__is_refused(person, address, new_context, shop, watch: Watch):
    watch.expected.append(FORBIDDEN)
    page = new_context(person).new_page()
    answer = page.goto(address.format(**shop.rows))
    assert answer.status == 403
    expect(page.get_by_text("Forbidden")).to_be_visible()
    expect(page.get_by_text("storefront")).to_have_count(0)


def test_nobody__is_asked_to_log_in(new_context):
    page = new_context(storage_state=None).new_page()
    page.goto(DELIVERIES)
    expect(page.get_by_label("Username")).to_be_visible()
