"""The admin of refused requests: what a person sees of one, and who may accept it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from example_project.security import POLICY
from perfsee_webhooks.admin.received import WITHHELD
from perfsee_webhooks.models import Delivery, Rejection
from perfsee_webhooks.signatures import sign

from .figures import refused
from .test_admin import MARKUP, REJECTIONS, REVERSED, Page, detail, page

pytestmark = pytest.mark.django_db

CANARY = "canary-secret"
SIGNATURE = "X-Perfsee-Signature-256"
BUTTON = "Accept as a delivery"


@pytest.fixture
def rejection(post, body, webhook_setting) -> Rejection:
    """A request that was refused, whose secret has been set since."""
    webhook_setting(SECRETS=["another"])
    assert post(body, secret=CANARY, delivery_id="one").status_code == 400
    webhook_setting(SECRETS=[CANARY])
    return Rejection.objects.get()


def accept_url(rejection: Rejection) -> str:
    return reverse("admin:perfsee_webhooks_rejection_accept", args=[rejection.pk])


def accept_form(shown: Page):
    return next((form for form in shown.forms if form.action.endswith("/accept/")), None)


def accept_by_button(client, rejection):
    """Press the button as a browser does, and read the page that it leads to."""
    form = accept_form(page(client, detail(rejection)))
    assert form is not None
    return Page(client.get(form.submit(client)["Location"]))


# What a person sees


def test_page__begins_with_what_was_found(admin_client, rejection):
    text = page(admin_client, detail(rejection)).words
    found = text.index("The signature was made with SECRETS[0]. The cause is mended.")
    assert text.index("What is wrong, and what to do") < found < text.index("Why it was refused.")
    assert BUTTON in text


def test_page__lists_the_likely_causes(admin_client, rejection, webhook_setting):
    webhook_setting(SECRETS=["a third"])
    shown = page(admin_client, detail(rejection))
    assert "No secret of this site made the signature" in shown.words
    assert "The likely causes, the likeliest first: The hook has another secret" in shown.words
    assert "It cannot be accepted as a delivery now. The signature does not match" in shown.words
    assert BUTTON not in shown.text
    assert accept_form(shown) is None


def test_page__links_to_the_delivery_that_has_the_id(admin_client, rejection, post, body):
    post(body + b" ", secret=CANARY, delivery_id="one")
    shown = page(admin_client, detail(rejection))
    assert "Its delivery id is stored with another body." in shown.words
    assert "It cannot be accepted as a delivery now. Its delivery id is stored" in shown.words
    assert detail(Delivery.objects.get()) in shown.links


@pytest.mark.parametrize(
    "signature", [sign(b"x", CANARY), sign(b"x", CANARY)[7:], sign(b"x", CANARY).upper()]
)
def test_pages__show_no_secret_and_no_digest(
    admin_client, post, webhook_setting, caplog, signature
):
    caplog.set_level("DEBUG")
    webhook_setting(SECRETS=[CANARY, f" {CANARY} "], HOOKS={"7": {"SECRETS": ["canary-of-seven"]}})
    post(b"x\n", headers={SIGNATURE: signature, "X-Perfsee-Hook-ID": "7"})
    rejection = Rejection.objects.get()
    assert rejection.headers[SIGNATURE] == signature
    answer = admin_client.post(accept_url(rejection), follow=True)
    assert "It was not accepted." in answer.text
    pages = [admin_client.get(path).text for path in (REJECTIONS, detail(rejection))]
    shown = "".join(pages) + answer.text + caplog.text
    assert "over the body without the white space at its end" in shown
    assert "canary" not in shown
    assert signature[-64:].lower() not in shown.lower()
    assert signature[-40:].lower() not in shown.lower()


def test_pages__are_safe_with_hostile_content(admin_client, post, webhook_setting):
    webhook_setting(HOOKS={MARKUP: {"SECRETS": [CANARY], "PROJECTS": [MARKUP]}})
    in_header = (MARKUP + REVERSED).encode().decode("latin-1")
    project = b'{"payload":{"data":{"project":{"id":"</p><injected>\\u202e"}}}}'
    agent = "Perfsee-Hookshot/</p><injected>"
    for body, headers in (
        (MARKUP.encode(), {f"X-Perfsee-{name}": in_header for name in ("Hook-ID", "Delivery")}),
        (project, {"X-Perfsee-Hook-ID": MARKUP}),
        (project, {"X-Perfsee-Hook-ID": in_header, SIGNATURE: None, "User-Agent": agent}),
        (b"{}", {SIGNATURE: in_header, "Via": MARKUP}),
    ):
        assert post(body, secret=CANARY, headers=headers).status_code == 400
    Rejection.objects.update(accepted_by=MARKUP)
    for accepted_at in (None, datetime(2026, 1, 1, tzinfo=UTC)):
        Rejection.objects.update(accepted_at=accepted_at)
        rows = list(Rejection.objects.all())
        assert len(rows) == 4
        for path in (REJECTIONS, *map(detail, rows)):
            response = admin_client.get(path)
            shown = Page(response)
            assert shown.blocked == []
            assert response["Content-Security-Policy"] == POLICY
            assert not set(REVERSED[:1] + REVERSED[-1:]) & set(shown.text)


def test_page__tells_how_many_others_there_were(admin_client):
    rejection = refused(datetime(2026, 1, 1, tzinfo=UTC), not_kept=12_345)
    shown = page(admin_client, detail(rejection)).words
    assert "Not kept before it: 12,345, which came quicker than a process keeps them." in shown
    assert "after 12,345 that were not kept" in page(admin_client, REJECTIONS).words
    Rejection.objects.update(not_kept=0)
    assert "Not kept before it: None." in page(admin_client, detail(rejection)).words
    assert "not kept" not in page(admin_client, REJECTIONS).words


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"yes", "no"}),
        ("accepted=yes", {"yes"}),
        ("accepted=no", {"no"}),
        ("accepted=bogus", {"yes", "no"}),
        ("accepted=%00", {"yes", "no"}),
        ("accepted=no&reason__exact=conflict", set()),
    ],
)
def test_list__shows_and_filters_by_what_was_accepted(admin_client, query, expected):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    refused(at, project="no")
    refused(at, project="yes", accepted_at=at, accepted_by="someone")
    response = admin_client.get(f"{REJECTIONS}?{query}")
    assert {row.project for row in response.context["cl"].result_list} == expected
    cells = re.findall('<td class="field-acceptance">(.*?)</td>', response.text)
    assert sorted(cells) == sorted({"yes": "Yes", "no": "–"}[name] for name in expected)


def test_lists_and_pages__read_the_same_statements_for_any_number_of_rows(
    admin_client, post, body, rejection
):
    counts = []
    for number in (3, 20):
        for index in range(number):
            post(b"%d" % index, secret="wrong")
            kept = Rejection.objects.latest("pk")
            Rejection.objects.filter(pk=kept.pk).update(
                accepted_at=kept.received_at, accepted_as=None
            )
        read = []
        for path in (REJECTIONS, detail(rejection)):
            with CaptureQueriesContext(connection) as captured:
                admin_client.get(path)
            read.append([query["sql"] for query in captured])
        counts.append([len(statements) for statements in read])
        assert not [sql for sql in read[0] if '."body"' in sql or '."headers"' in sql]
        # Of its own body alone, and once.
        assert len([sql for sql in read[1] if '."body"' in sql]) == 1
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 8


# Who may accept


def test_accept__makes_a_delivery_and_has_it_processed(admin_client, rejection, connect, body):
    receiver = connect()
    shown = accept_by_button(admin_client, rejection)
    delivery = Delivery.objects.get()
    assert receiver.call_count == 1
    assert delivery.state == "succeeded"
    assert bytes(delivery.body) == body
    assert delivery.received_at == rejection.received_at
    assert "Accepted as delivery one ." in shown.words
    assert "by admin at" in shown.words
    assert shown.links.count(detail(delivery)) == 3  # the message, the verdict, the finding
    assert BUTTON not in shown.text
    assert accept_form(shown) is None
    assert Rejection.objects.get().accepted_by == "admin"


def test_accept__runs_nothing_again_that_is_stored_already(
    admin_client, rejection, connect, post, body
):
    receiver = connect()
    post(body, secret=CANARY, delivery_id="one")
    shown = accept_by_button(admin_client, rejection)
    assert "It is stored already, as delivery one ." in shown.words
    assert receiver.call_count == 1
    assert Delivery.objects.get().repeats == 0


def test_accept__hands_over_nothing_that_is_stored_already(
    admin_client, rejection, nothing_runs, post, body, webhook_setting
):
    post(body, secret=CANARY, delivery_id="one")
    webhook_setting(PROCESSING="inline")
    accept_by_button(admin_client, rejection)
    assert Delivery.objects.get().state == "received"


def test_accept__hands_over_in_the_way_of_the_site(admin_client, rejection, nothing_runs):
    accept_by_button(admin_client, rejection)
    assert Delivery.objects.get().state == "received"


def test_accept__says_why_it_did_not(admin_client, rejection, webhook_setting):
    webhook_setting(SECRETS=["a third"])
    answer = admin_client.post(accept_url(rejection), follow=True)
    assert "It was not accepted. The signature does not match" in Page(answer).words
    assert not Delivery.objects.exists()
    assert Rejection.objects.get().accepted_at is None


def test_accept__says_that_it_was_accepted_already(admin_client, rejection):
    admin_client.post(accept_url(rejection))
    answer = admin_client.post(accept_url(rejection), follow=True)
    assert "It was not accepted. Somebody has accepted it already" in Page(answer).words
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize("primary_key", ["0", "999", "9" * 40])
def test_accept__of_a_missing_row_leads_back_to_the_index(admin_client, primary_key):
    answer = admin_client.post(f"{REJECTIONS}{primary_key}/accept/", follow=True)
    assert answer.status_code == 200
    assert "It was not accepted." in answer.text


def test_accept__names_a_delivery_that_is_no_longer_kept(admin_client, rejection):
    accept_by_button(admin_client, rejection)
    Delivery.objects.all().delete()
    text = page(admin_client, detail(rejection)).words
    assert "Accepted as a delivery that is no longer kept by admin at" in text


def test_accept__takes_post_with_a_csrf_token_alone(admin_user, rejection):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    for method in ("get", "head", "put", "delete", "options"):
        answer = getattr(client, method)(accept_url(rejection))
        assert answer.status_code == (405 if method in ("get", "head", "options") else 403)
    assert client.get(accept_url(rejection))["Allow"] == "POST"
    assert client.post(accept_url(rejection)).status_code == 403
    assert not Delivery.objects.exists()
    shown = accept_by_button(client, rejection)
    assert "Accepted as delivery one ." in shown.words


@pytest.mark.parametrize(
    ("rights", "answers"),
    [
        (None, (302, 302)),
        ((), (403, 403)),
        (("accept_rejection",), (403, 403)),
        (("view_delivery", "replay_delivery"), (403, 403)),
        (("view_rejection",), (200, 403)),
        (("view_rejection", "add_rejection", "change_rejection", "delete_rejection"), (200, 403)),
        (("view_rejection", "accept_rejection"), (200, 302)),
        (("superuser",), (200, 302)),
    ],
)
@pytest.mark.usefixtures("nothing_runs")
def test_rights__decide_who_sees_and_who_accepts(client, person, rejection, rights, answers):
    if rights is not None:
        person(*rights)
    answer = client.get(detail(rejection))
    may_accept = answers == (200, 302)
    assert answer.status_code == client.get(REJECTIONS).status_code == answers[0]
    assert (BUTTON in answer.text) == may_accept
    assert (accept_form(Page(answer)) is not None) == may_accept
    assert ("somebody with the permission" in answer.text) == (answers == (200, 403))
    assert client.post(accept_url(rejection)).status_code == answers[1]
    assert Delivery.objects.exists() == may_accept
    assert (Rejection.objects.get().accepted_at is not None) == may_accept


@pytest.mark.parametrize("rights", [(), ("view_delivery_body",)])
def test_rights__decide_who_sees_the_body(person, rejection, rights):
    shown = page(person("view_rejection", *rights), detail(rejection))
    assert ("feat/webhook" in shown.text) is bool(rights)
    assert shown.words.count(WITHHELD) == (0 if rights else 1)


def test_rights__decide_who_is_led_to_deliveries(client, person, rejection, nothing_runs):
    person("view_rejection", "accept_rejection")
    shown = accept_by_button(client, rejection)
    assert "Accepted as delivery one." in shown.words
    assert not [link for link in shown.links if "/delivery/" in link]
