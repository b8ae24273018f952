"""The admin's pages: what they show and to whom, how much they read, and what they let through."""

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from example_project.security import POLICY
from perfsee_webhooks.admin.base import MAX_COUNT, CappedPaginator
from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection, Replay
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

from .sites import SECRET

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/perfsee_webhooks/delivery/"
REJECTIONS = "/admin/perfsee_webhooks/rejection/"
REPLAYS = "/admin/perfsee_webhooks/replay/"

MARKUP = "</pre></td></script><script>alert(1)</script><injected>\" injected onmouseover='alert(1)'"
REVERSED = "\u202egnp.exe\u2066"


@dataclass
class Form:
    """A form of a page, with the fields that a browser would send."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def submit(self, client, **answers):
        """Send it as a browser does, with some of the fields answered otherwise."""
        names = {name for name, _ in self.fields}
        data = {name: [v for n, v in self.fields if n == name] for name in names}
        return client.post(self.action, {**data, **answers})


class Page(HTMLParser):
    """A page as a browser reads it: its text, its forms, and whatever a strict CSP would block."""

    def __init__(self, response):
        super().__init__()
        self.text, self.chunks, self.forms, self.links, self.blocked = "", [], [], [], []
        self._is_inline = False
        self.feed(response.content.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._is_inline = tag in ("script", "style") and "src" not in given
        self.blocked += [f"<{tag} {name}>" for name in given if name.startswith(("on", "style"))]
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        is_sent = given.get("type") not in ("radio", "checkbox", "submit") or "checked" in given
        if tag == "input" and self.forms and "name" in given and is_sent:
            self.forms[-1].fields.append((given["name"], given.get("value", "")))
        if "injected" in (tag, *given) or str(given.get("href")).startswith("javascript:"):
            self.blocked.append(f"<{tag} {given}>")

    def handle_endtag(self, tag):
        self._is_inline = False

    def handle_data(self, data):
        if self._is_inline and data.strip():
            self.blocked.append(data)
        self.text += data
        self.chunks.append(data)

    @property
    def words(self):
        """The text with one space between any two words."""
        return " ".join(" ".join(self.chunks).split())

    def form_with(self, *names):
        """The form that has fields of these names; None if there is none."""
        return next((form for form in self.forms if {*names} <= dict(form.fields).keys()), None)


def page(client, path):
    response = client.get(path)
    assert response.status_code == 200, path
    return Page(response)


def detail(row):
    return reverse(f"admin:perfsee_webhooks_{row._meta.model_name}_change", args=[row.pk])


def store(body=b"{}", **headers):
    """Store a delivery as the receiving view does."""
    sent = {**perfsee_headers(body, SECRET), **headers}
    primary_key = Delivery.objects.record(Envelope.read(body, sent, "SECRETS[0]"))
    assert primary_key is not None
    return Delivery.objects.get(pk=primary_key)


def bundle(**artifact):
    value = json.loads(sample_body("bundle:finished"))
    value["payload"]["data"]["project"]["artifact"].update(artifact)
    return json.dumps(value).encode()


# The lists


def test_list__shows_what_a_delivery_is_about(admin_client, connect, post, body):
    connect(name="a")
    connect(name="b")
    post(body)
    ReceiverRun.objects.update(duration=timedelta(milliseconds=700))
    Delivery.objects.update(attempts=3)
    delivery = Delivery.objects.get()
    shown = page(admin_client, DELIVERIES)
    assert detail(delivery) in shown.links
    assert "Show counts" not in shown.text
    assert "Delivery State Received Duration" in shown.words
    assert (
        "main @ feat/webhook passed, score 57 bundle:finished · perfsee Succeeded 3 attempts "
        f"{delivery.received_at:%Y-%m-%d %H:%M:%S} 1,400 ms"
    ) in shown.words


def test_list__names_by_its_id_what_has_no_summary(admin_client):
    delivery = store(b"not JSON")
    assert delivery.delivery_id in page(admin_client, DELIVERIES).text


@pytest.mark.parametrize("path", [DELIVERIES, REJECTIONS, REPLAYS])
def test_list__reads_the_same_few_statements_for_any_number_of_rows(admin_client, post, path):
    counts = []
    read: list[str] = []
    for number in (5, 35):
        for _ in range(number):
            post(sample_body("bundle:finished"))
            post(b"{}", secret="wrong")
            Replay.objects.create(requested_by="someone")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            admin_client.get(path)
        counts.append(len(captured))
        read = [query["sql"] for query in captured]
        assert not [sql for sql in read if '."body"' in sql or '."headers"' in sql]
    assert Delivery.objects.count() == Rejection.objects.count() == Replay.objects.count() == 40
    assert counts[0] == counts[1] <= 8
    (counting,) = (sql for sql in read if "COUNT(" in sql)
    assert f"LIMIT {MAX_COUNT + 1}" in counting
    assert "duration" not in counting


def test_list__counts_no_further_than_its_bound(monkeypatch):
    monkeypatch.setattr("perfsee_webhooks.admin.base.MAX_COUNT", 2)
    for _ in range(4):
        store()
    assert CappedPaginator(Delivery.objects.all(), 50).count == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "bundle source package"),
        ("state__exact=failed", "bundle"),
        ("state__exact=dead", ""),
        ("event=bundle:finished", "bundle"),
        ("event=source:finished", "source"),
        ("event=other", "package"),
        ("project=perfsee", "bundle source"),
        ("project=other-site", "package"),
        ("project=perf", ""),
        ("received_at__gte=2000-01-01T00:00:00Z", "bundle source package"),
        ("received_at__gte=2999-01-01T00:00:00Z", ""),
        ("event=source:finished&project=other-site", ""),
        ("q=bundle-", "bundle"),
        ("q=undle-", ""),
        ("q=hook-of-pack", "package"),
        ("q=other-s", "package"),
        ("q=ite", ""),
        ("q=50fae89", "bundle"),
        ("q=fae89", ""),
        ("q=feat/web", "bundle"),
        ("q=webhook", ""),
        ("q=%25", ""),
    ],
)
def test_list__filters_and_searches(admin_client, query, expected):
    project = {"payload": {"data": {"project": {"id": "other-site"}}}}
    package = json.dumps({"eventType": "package:published", **project}).encode()
    for body, name in (
        (sample_body("bundle:finished"), "bundle"),
        (sample_body("source:finished"), "source"),
        (package, "package"),
    ):
        sent = {"X-Perfsee-Delivery": f"{name}-1", "X-Perfsee-Hook-ID": f"hook-of-{name}"}
        store(body, **sent)
    Delivery.objects.filter(event_type="bundle:finished").update(state="failed")
    response = admin_client.get(f"{DELIVERIES}?{query}")
    found = {row.delivery_id.partition("-")[0] for row in response.context["cl"].result_list}
    assert found == set(expected.split())


@pytest.mark.parametrize("path", [DELIVERIES, REJECTIONS, REPLAYS])
@pytest.mark.parametrize(
    "query",
    [
        "bogus=1",
        "state__exact=bogus",
        "state__exact=%00",
        "reason__exact=%00",
        "project=%00",
        "event=%00",
        "replay=%00",
        "replay=bogus",
        f"replay={'9' * 40}",
        "q=%00",
        "q=%ff%ed%a0%bd",
        f"q={'a+' * 3000}",
        f"q={'a' * 60_000}",
        "received_at__gte=bogus",
        "received_at__gte=%00",
        "received_at__gte=0001-01-01+00:00:00%2B14:00",
        "received_at__lt=9999-12-31+23:59:59-14:00",
        "delivery_id__regex=(",
        "body__contains=x",
        "replay__requested_by__startswith=a",
        "p=99999",
        "p=bogus",
        "o=99.-1.bogus",
        "all=",
        "_facets=True",
        "_to_field=body",
        "e=1",
    ],
)
def test_list__takes_any_parameters(admin_client, post, path, query):
    store()
    post(b"{}", secret="wrong")
    response = admin_client.get(f"{path}?{query}", follow=True)
    assert response.status_code in (200, 400)


@pytest.mark.parametrize(
    "query", ["body__contains=x", "delivery_id__regex=(", "replay__requested_by__startswith=a"]
)
def test_list__filters_by_nothing_that_it_does_not_offer(admin_client, query):
    assert admin_client.get(f"{DELIVERIES}?{query}").status_code == 400


def test_list__offers_to_show_all_only_where_a_filter_hides_some(admin_client, delivery):
    assert "Show all" not in page(admin_client, DELIVERIES).text
    assert "Show all" in page(admin_client, f"{DELIVERIES}?state__exact=dead").text
    assert "Show all" in page(admin_client, f"{DELIVERIES}?q=nothing").text


# The page of a row


@pytest.mark.parametrize("path", [DELIVERIES, REJECTIONS, REPLAYS])
@pytest.mark.parametrize("key", ["0", "999", "9" * 40, "bogus", "%00", "_00", "_ED_A0_BD", "1_2F"])
def test_detail__of_a_missing_row_leads_back_to_the_index(admin_client, path, key):
    response = admin_client.get(f"{path}{key}/change/")
    assert response.status_code in (302, 404)
    assert response.get("Location", "/admin/") == "/admin/"


# Who may do what


@pytest.mark.parametrize("path", [DELIVERIES, REJECTIONS, REPLAYS])
def test_rows__cannot_be_added_changed_or_deleted_by_anybody(admin_client, post, delivery, path):
    post(b"{}", secret="wrong")
    Replay.objects.create(requested_by="someone")
    models: dict[str, Any] = {DELIVERIES: Delivery, REJECTIONS: Rejection, REPLAYS: Replay}
    rows = models[path].objects.values()
    row = rows.get()
    change = f"{path}{row['id']}/change/"
    assert admin_client.get(change).status_code == 200
    assert admin_client.get(f"{path}add/").status_code == 403
    assert admin_client.post(f"{path}add/", {"project": "x"}).status_code == 403
    assert admin_client.post(change, {"project": "x", "reason": "x"}).status_code == 403
    assert admin_client.get(f"{path}{row['id']}/delete/").status_code == 403
    assert admin_client.post(f"{path}{row['id']}/delete/", {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": row["id"], "post": "yes"}
    admin_client.post(path, action)
    assert rows.get() == row
    fields = {name for form in page(admin_client, change).forms for name, _ in form.fields}
    assert fields <= {"csrfmiddlewaretoken", "action", "_selected_action"}


@pytest.mark.parametrize(
    ("rights", "status", "may_replay"),
    [
        (None, 302, False),
        ((), 403, False),
        (("replay_delivery",), 403, False),
        (("view_delivery",), 200, False),
        (("view_delivery", "change_delivery", "delete_delivery", "add_delivery"), 200, False),
        (("view_delivery", "replay_delivery"), 200, True),
        (("superuser",), 200, True),
    ],
)
def test_rights__decide_who_sees_and_who_replays(
    client, person, delivery, rights, status, may_replay
):
    if rights is not None:
        person(*rights)
    assert client.get(DELIVERIES).status_code == status
    answer = client.get(detail(delivery))
    assert answer.status_code == status
    plan = f"{REPLAYS}plan/?keys={delivery.pk}"
    assert (plan in Page(answer).links) == may_replay
    asked = client.post(DELIVERIES, {"action": "replay_selected", "_selected_action": delivery.pk})
    assert (asked.headers.get("Location") == plan) == may_replay
    assert Replay.objects.count() == 0


# Rejections and replays


@pytest.mark.parametrize(
    ("secret", "changes", "reason"),
    [
        ("wrong", {}, "Wrong signature"),
        (None, {}, "Missing signature"),
        (SECRET, {"X-Perfsee-Delivery": "no id!"}, "Malformed request"),
    ],
)
def test_rejection__shows_why_and_what(admin_client, post, body, secret, changes, reason):
    told = post(body, secret=secret, headers=changes).json()["reason"]
    rejection = Rejection.objects.get()
    shown = page(admin_client, REJECTIONS)
    assert detail(rejection) in shown.links
    text = page(admin_client, detail(rejection)).text
    for shown_text in (shown.text, text):
        assert reason in shown_text
        assert told in shown_text
        assert "bundle:finished" in shown_text
    assert '"branch": "feat/webhook"' in text
    assert "Perfsee-Hookshot/1" in text


def test_rejection__is_safe_with_hostile_content(admin_client, post):
    in_header = (MARKUP + REVERSED).encode().decode("latin-1")
    names = ("Event", "Hook-ID", "Hook-Project", "Delivery", "Signature-256")
    sent = {f"X-Perfsee-{name}": in_header for name in names}
    assert post(MARKUP.encode() + b"\x00\xff", headers=sent).status_code == 400
    for path in (REJECTIONS, detail(Rejection.objects.get())):
        shown = page(admin_client, path)
        assert shown.blocked == []
        assert "<script>alert(1)</script>" in shown.text
        assert not set(REVERSED[:1] + REVERSED[-1:] + "\x00") & set(shown.text)


def test_rejection__says_that_an_unsigned_body_was_cut(admin_client, post):
    post(b"a" * 200_000, secret="wrong")
    text = page(admin_client, detail(Rejection.objects.get())).text.replace("\xa0", " ")
    assert "Body (195.3 KB)" in text
    assert "Only its first 128.0 KB are kept" in text


def test_replay__leads_to_its_deliveries(admin_client, body):
    mine, _other = store(body), store(body)
    replay = Replay.objects.create(requested_by="somebody", reason=MARKUP)
    Delivery.objects.filter(pk=mine.pk).update(replay=replay)
    shown = page(admin_client, detail(replay))
    assert shown.blocked == []
    assert "somebody" in shown.text
    assert f"{replay.requested_at:%Y-%m-%d %H:%M:%S}" in shown.text
    assert MARKUP in shown.text
    address = f"{DELIVERIES}?replay={replay.pk}"
    assert address in shown.links
    response = admin_client.get(address)
    assert [row.pk for row in response.context["cl"].result_list] == [mine.pk]
    assert f"replay {replay.pk}" in Page(response).text


# What a browser gets


def test_pages__need_nothing_that_a_strict_policy_forbids(admin_client, connect, post, body):
    connect(side_effect=RuntimeError)
    post(body)
    post(body, secret="wrong")
    delivery, rejection = Delivery.objects.get(), Rejection.objects.get()
    replay = Replay.objects.create(requested_by="someone")
    rows = [detail(row) for row in (delivery, rejection, replay)]
    others = [reverse("admin:perfsee_webhooks_overview"), f"{REPLAYS}plan/"]
    others.append(reverse("admin:perfsee_webhooks_delivery_dry_run", args=[delivery.pk]))
    for path in (DELIVERIES, REJECTIONS, REPLAYS, *rows, *others):
        response = admin_client.get(path)
        assert response["Content-Security-Policy"] == POLICY
        assert Page(response).blocked == []
        assert "perfsee_webhooks/admin.css" in response.text
        addresses = re.findall(r'(?:src|href)="([^"]+)"', response.text)
        assert [a for a in addresses if a.startswith(("http:", "//"))] == []


@pytest.mark.parametrize(
    "harm",
    [
        "<script>x</script>",
        "<style>x</style>",
        '<p style="x">',
        "<p onclick=x>",
        "<injected>",
        "<p injected>",
        '<a href="javascript:x">',
    ],
)
def test_page__sees_what_a_strict_policy_forbids(harm):
    assert Page(HttpResponse(harm)).blocked
