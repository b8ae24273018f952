"""Moments of a selection, told in any time zone, on a site with time zones and on one without."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.utils import timezone as django_timezone

from perfsee_webhooks.selection import Selection, as_stored

from .figures import came

NEW_YORK = "America/New_York"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
# The same moment, as somebody in Tokyo would write it.
IN_TOKYO = NOON.astimezone(timezone(timedelta(hours=9)))


@pytest.fixture(params=[True, False], ids=["USE_TZ", "no USE_TZ"])
def use_tz(request, settings):
    """A site in New York, where it is five hours earlier than in UTC."""
    settings.USE_TZ, settings.TIME_ZONE = request.param, NEW_YORK
    return request.param


def test_as_stored__is_in_utc_or_naive_in_the_sites_own_zone(use_tz):
    local = NOON.astimezone(ZoneInfo(NEW_YORK)).replace(tzinfo=None)
    stored = as_stored(IN_TOKYO)
    assert stored == (NOON if use_tz else local)
    assert stored.tzinfo is (UTC if use_tz else None)
    assert as_stored(local) == stored


def test_as_stored__refuses_what_no_date_can_tell():
    with pytest.raises(ValueError, match="beyond what a date can tell"):
        as_stored(datetime.max.replace(tzinfo=timezone(timedelta(hours=-9))))


@pytest.mark.django_db
def test_selection__finds_the_same_moment_however_it_is_told(use_tz):
    row = came(as_stored(NOON))
    later = IN_TOKYO + timedelta(seconds=1)
    around = Selection(received_from=IN_TOKYO, received_before=later)
    assert around.deliveries().get() == row
    assert Selection.from_json(around.as_json()).deliveries().get() == row
    assert not Selection(received_before=IN_TOKYO).deliveries().exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("hours", "found"), [(0, 1), (5, 0), (-5, 0)])
def test_api__finds_the_same_moment_however_it_is_told(admin_client, use_tz, hours, found):
    came(as_stored(NOON))
    begin = IN_TOKYO + timedelta(hours=hours)
    around = {
        "received_from": begin.isoformat(),
        "received_before": (begin + timedelta(minutes=1)).isoformat(),
    }
    listed = admin_client.get("/api/deliveries/", around)
    assert len(listed.json()["results"]) == found
    assert admin_client.get("/api/rejections/", around).json()["results"] == []
    exported = admin_client.get("/api/export/", around)
    assert len(b"".join(exported.streaming_content).splitlines()) == found
    planned = admin_client.post("/api/replays/plan/", around, "application/json")
    assert planned.json()["matching"] == found


@pytest.mark.django_db
def test_commands__find_the_same_moment_however_it_is_told(use_tz):
    row = came(as_stored(NOON))
    written = StringIO()
    call_command("perfsee_export", f"--from={IN_TOKYO.isoformat()}", stdout=written)
    assert json.loads(written.getvalue())["id"] == row.pk
    with django_timezone.override(NEW_YORK):
        written = StringIO()
        call_command("perfsee_export", "--before=2026-11-24T07:00:01", stdout=written)
        assert json.loads(written.getvalue())["id"] == row.pk
