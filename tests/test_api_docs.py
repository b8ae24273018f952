"""The page about the API: its commands are sent, and its tables say what the code says."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from perfsee_webhooks.api.filters import (
    DeliveryFilters,
    RejectionFilters,
    ReplayFilters,
    RunFilters,
)
from perfsee_webhooks.models import Delivery, Replay

from .documents import DOCS, blocks_of
from .replays import opened_again

pytestmark = pytest.mark.django_db

PAGE = DOCS / "api.md"
ROOT = "/api/perfsee/"
RIGHTS = {
    "monitor": ["view_delivery", "view_delivery_body"],
    "operator": ["view_delivery", "replay_delivery"],
}
WITHOUT_VALUE = {"--remote-name", "--remote-header-name"}


def sent_as(words, replay):
    """Send what a command of curl would send to the example site."""
    options, address = {}, ""
    rest = iter(words[1:])
    for word in rest:
        if word in WITHOUT_VALUE:
            continue
        if word.startswith("--"):
            options[word] = next(rest)
        else:
            address = word.replace("/replays/7/", f"/replays/{replay.pk}/")
    asked = urlsplit(address)
    assert asked.path.startswith(ROOT)
    sent = options.pop("--json", "")
    method = options.pop("--request", "POST" if sent else "GET")
    token = base64.b64encode(options.pop("--user").encode()).decode()
    assert not options
    return Client().generic(
        method,
        f"/api/{asked.path.removeprefix(ROOT)}",
        sent,
        "application/json",
        QUERY_STRING=asked.query,
        headers={"Authorization": f"Basic {token}"},
    )


def test_api_md__shows_commands_that_do_what_it_says(
    django_user_model, post, body, connect, nothing_runs
):
    for name, codenames in RIGHTS.items():
        user = django_user_model.objects.create_user(name, password="password")
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    connect()
    post(body, delivery_id="0194a8d2-0000-7000-8000-00000000002a")
    replay = opened_again()
    Delivery.objects.update(state="dead", next_attempt_at=None)
    Replay.objects.update(state="running")
    commands = [words for block in blocks_of(PAGE, "sh") for words in block.commands]
    answers = [sent_as(words, replay) for words in commands]
    found, downloaded, planned, started, paused = answers
    assert [answer.status_code for answer in answers] == [200, 200, 200, 201, 200]
    assert len(found.json()["results"]) == 1
    assert downloaded.content == body
    assert planned.json()["opened"] == 1
    assert started.json()["reason"] == "The chat is back."
    assert paused.json()["state"] == "paused"
    assert json.loads(started.content)["url"].startswith("http")


def test_api_md__lists_each_filter():
    text = PAGE.read_text()
    table = text.split("| filter of `deliveries/` |")[1].split("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert re.findall(r"`(\w+)`", " ".join(first)) == list(DeliveryFilters.base_filters)
    others = text.split("`runs/` can be narrowed down by")[1].split("A value that")[0]
    span = {"received_from", "received_before"}
    for filters in (RunFilters, RejectionFilters, ReplayFilters):
        assert [name for name in {*filters.base_filters} - span if f"`{name}`" not in others] == []
