from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections
from django.utils import timezone

from perfsee_webhooks.acceptance import NotAccepted, accept, first_with_its_body, why_not
from perfsee_webhooks.models import Delivery, Rejection

CANARY = "canary-secret"
ID = "X-Perfsee-Delivery"

pytestmark = pytest.mark.django_db


@pytest.fixture
def refused(post, webhook_setting):
    """Posts a request that is refused, signed with a secret that is then put into the setting."""

    def refuse(body: bytes, **request: Any) -> Rejection:
        webhook_setting(SECRETS=["another"])
        assert post(body, **{"secret": CANARY, **request}).status_code == 400
        webhook_setting(SECRETS=[CANARY])
        return Rejection.objects.latest("pk")

    return refuse


def state() -> list[Any]:
    """Every row that an acceptance could change."""
    return [list(model.objects.order_by("pk").values()) for model in (Delivery, Rejection)]


def known_for(rejection: Rejection) -> Delivery | None:
    return Delivery.objects.filter(delivery_id=rejection.delivery_id).first()


def assert_not_accepted(rejection: Rejection, why: str) -> None:
    """It says why, before and when it is asked to, without a secret, and changes nothing."""
    before = state()
    with pytest.raises(NotAccepted, match=why) as refusal:
        accept(rejection.pk, accepted_by="someone")
    for text in (str(refusal.value), why_not(rejection, known_for(rejection))):
        assert re.search(why, text)
        assert "canary" not in text
        assert not re.search("[0-9a-f]{32}", text)
    assert state() == before


def test_accept__stores_what_came_when_it_came(refused, body, caplog):
    caplog.set_level("INFO")
    rejection = refused(body, delivery_id="one")
    came = timezone.now() - timedelta(days=2)
    Rejection.objects.update(received_at=came)
    assert why_not(rejection, None) == ""
    before = timezone.now()
    acceptance = accept(rejection.pk, accepted_by="someone\n" + "x" * 500)
    delivery = Delivery.objects.get()
    rejection.refresh_from_db()
    assert acceptance.is_new
    assert acceptance.delivery == rejection.accepted_as == delivery
    assert rejection.accepted_at is not None
    assert rejection.accepted_at >= before
    assert rejection.accepted_by.startswith("someone\N{REPLACEMENT CHARACTER}xx")
    assert bytes(delivery.body) == body
    assert delivery.delivery_id == "one"
    assert delivery.verified_by == "SECRETS[0]"
    assert delivery.project == "perfsee"
    assert delivery.state == "received"
    assert delivery.received_at == came
    assert delivery.repeats == 0
    # Nobody was told of it when it came: the sweep would take it up at once beside this process.
    assert delivery.handed_over_at is not None
    assert delivery.handed_over_at >= before
    assert "X-Perfsee-Signature-256" not in delivery.headers
    assert "was accepted as delivery one by someone" in caplog.text
    assert "canary" not in caplog.text
    assert not re.search("[0-9a-f]{64}", caplog.text)


def test_accept__accepts_once_alone(refused, body):
    rejection = refused(body)
    accept(rejection.pk, accepted_by="first")
    before = state()
    with pytest.raises(NotAccepted, match="accepted it already"):
        accept(rejection.pk, accepted_by="second")
    assert state() == before


@pytest.mark.parametrize("primary_key", [0, 999, 10**40])
def test_accept__says_that_there_is_no_such_request(primary_key):
    with pytest.raises(NotAccepted, match="no longer kept"):
        accept(primary_key, accepted_by="someone")


@pytest.mark.parametrize("delivery_id", [None, "no id!", "x" * 129])
def test_accept__gives_an_id_to_what_has_no_usable_one(refused, body, delivery_id):
    rejection = refused(body, headers={ID: delivery_id})
    accept(rejection.pk, accepted_by="someone")
    assert Delivery.objects.get().delivery_id == f"rejection-{rejection.pk}"
    assert Delivery.objects.get().verified_by == "SECRETS[0]"


def test_accept__gives_that_id_to_no_other_body(refused, post, body):
    rejection = refused(body, headers={ID: None})
    post(b"{}", secret=CANARY, delivery_id=f"rejection-{rejection.pk}")
    before = state()
    with pytest.raises(NotAccepted, match="another body"):
        accept(rejection.pk, accepted_by="someone")
    assert state() == before


def test_accept__points_at_the_delivery_that_is_stored_already(refused, post, body):
    rejection = refused(body, delivery_id="one")
    post(body, secret=CANARY, delivery_id="one")
    before = state()[0]
    assert why_not(rejection, known_for(rejection)) == ""
    acceptance = accept(rejection.pk, accepted_by="someone")
    assert not acceptance.is_new
    assert acceptance.delivery == Delivery.objects.get()
    assert Rejection.objects.get().accepted_as == Delivery.objects.get()
    assert state()[0] == before


def test_accept__points_at_it_also_where_its_bytes_were_pruned(refused, post, body):
    rejection = refused(body, delivery_id="one")
    post(body, secret=CANARY, delivery_id="one")
    Delivery.objects.update(body=b"", body_pruned_at=timezone.now())
    assert not accept(rejection.pk, accepted_by="someone").is_new


def test_accept__refuses_another_body_of_a_known_id(refused, post, body):
    rejection = refused(body, delivery_id="one")
    post(body + b" ", secret=CANARY, delivery_id="one")
    assert_not_accepted(rejection, "stored with another body")


def test_accept__refuses_what_no_secret_signed(refused, body, webhook_setting):
    rejection = refused(body)
    webhook_setting(SECRETS=["a third"])
    assert_not_accepted(rejection, "signature does not match")


def test_accept__refuses_what_was_changed_on_its_way(refused, body, webhook_setting):
    rejection = refused(body)
    Rejection.objects.update(body=body + b"\n", body_size=len(body) + 1)
    rejection.refresh_from_db()
    assert_not_accepted(rejection, "signature does not match")


def test_accept__refuses_the_secret_of_another_hook(refused, body, webhook_setting):
    rejection = refused(body, headers={"X-Perfsee-Hook-ID": "7"})
    webhook_setting(SECRETS=["another"], HOOKS={"8": {"SECRETS": [CANARY]}})
    assert_not_accepted(rejection, "signature does not match")
    webhook_setting(SECRETS=["another"], HOOKS={"7": {"SECRETS": [CANARY]}})
    assert accept(rejection.pk, accepted_by="someone").delivery.verified_by.startswith("HOOKS")


@pytest.mark.parametrize("delivery_id", ["one", None])
def test_accept__refuses_what_was_cut(refused, delivery_id):
    body = json.dumps({"eventType": "a:b", "text": "x" * 200_000}).encode()
    assert_not_accepted(refused(body, headers={ID: delivery_id}), "Not all of its body is kept")


def test_accept__refuses_what_was_cut_also_where_unsigned_ones_are_taken(refused, webhook_setting):
    body = json.dumps({"eventType": "a:b", "text": "x" * 200_000}).encode()
    rejection = refused(body, secret=None)
    webhook_setting(ALLOW_UNSIGNED=True)
    assert_not_accepted(rejection, "Not all of its body is kept")


def test_accept__refuses_a_project_that_is_not_allowed(refused, body, webhook_setting):
    rejection = refused(body, headers={"X-Perfsee-Hook-ID": "7"})
    webhook_setting(HOOKS={"7": {"PROJECTS": ["web-*"]}})
    assert_not_accepted(rejection, "a project that this site does not accept")
    webhook_setting(HOOKS={"7": {"PROJECTS": ["perf*"]}})
    assert accept(rejection.pk, accepted_by="someone").is_new


def test_accept__takes_a_large_body_that_was_signed(post, webhook_setting):
    webhook_setting(SECRETS=[CANARY])
    body = json.dumps({"eventType": "a:b", "text": "x" * 200_000}).encode()
    post(body, secret=CANARY, headers={ID: "no id!"})
    accept(Rejection.objects.get().pk, accepted_by="someone")
    assert bytes(Delivery.objects.get().body) == body


# What nobody signed is accepted where, and as, the view would take it now.


def test_accept__takes_an_unsigned_one_where_the_site_takes_them_now(
    refused, body, webhook_setting
):
    rejection = refused(body, secret=None)
    assert_not_accepted(rejection, "has no X-Perfsee-Signature-256")
    webhook_setting(ALLOW_UNSIGNED=True)
    delivery = accept(rejection.pk, accepted_by="someone").delivery
    assert not delivery.is_signed
    assert delivery.verified_by == "unsigned"


def test_accept__verifies_a_signature_also_where_unsigned_ones_are_taken(
    refused, body, webhook_setting
):
    rejection = refused(body)
    webhook_setting(ALLOW_UNSIGNED=True, SECRETS=["a third"])
    assert_not_accepted(rejection, "signature does not match")


def test_accept__gives_no_id_to_what_nobody_signed(refused, body, webhook_setting):
    rejection = refused(body, secret=None, headers={ID: "no id!"})
    webhook_setting(ALLOW_UNSIGNED=True)
    assert_not_accepted(rejection, "is not one id")


def test_accept__refuses_an_unsigned_one_that_is_no_event(refused, webhook_setting):
    rejection = refused(b"{}", secret=None)
    webhook_setting(ALLOW_UNSIGNED=True)
    assert_not_accepted(rejection, "has no 'eventType'")


# In one transaction


@pytest.mark.parametrize("failing", ["INSERT", "UPDATE"])
def test_accept__changes_nothing_where_the_database_does_not_take_it(refused, body, failing):
    rejection = refused(body)
    before = state()
    seen = []

    def refuse(execute, sql, params, many, context):
        seen.append(sql)
        # The first UPDATE takes the request, the last one links it with its delivery.
        if sql.startswith(failing) and (failing == "INSERT" or "accepted_as" in sql):
            raise DatabaseError("no space left")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError):
        accept(rejection.pk, accepted_by="someone")
    assert any(sql.startswith("UPDATE") for sql in seen)
    assert state() == before


@pytest.mark.django_db(transaction=True)
def test_accept__makes_one_delivery_of_two_at_once(refused, body):
    rejection = refused(body, headers={ID: None})
    barrier = threading.Barrier(6)
    accepted, refusals = [], []

    def try_it(number: int) -> None:
        barrier.wait()
        try:
            accepted.append(accept(rejection.pk, accepted_by=f"person {number}"))
        except NotAccepted as refusal:
            refusals.append(str(refusal))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 1
    assert len(refusals) == 5
    assert all("accepted it already" in refusal for refusal in refusals)
    assert Rejection.objects.get().accepted_as == Delivery.objects.get()
    assert Delivery.objects.get().repeats == 0


def test_accept__takes_a_body_that_is_stored_under_another_id(db, post, body, webhook_setting):
    webhook_setting(REFUSE_SAME_BODY=True)
    post(body, delivery_id="one")
    post(body, delivery_id="two")
    rejection = Rejection.objects.get()
    first = first_with_its_body(rejection)
    assert first is not None
    assert first.delivery_id == "one"
    assert accept(rejection.pk, accepted_by="ann").delivery.delivery_id == "two"


@pytest.mark.django_db(transaction=True)
def test_accept__makes_one_delivery_of_two_requests_alike(refused, body):
    rows = [refused(body, delivery_id="one").pk for _ in range(4)]
    barrier = threading.Barrier(len(rows))
    accepted = []

    def try_it(primary_key: int) -> None:
        barrier.wait()
        try:
            accepted.append(accept(primary_key, accepted_by="someone"))
        except OperationalError:
            # MySQL ends a deadlock so; it is left as it was, to be accepted again.
            assert connection.vendor == "mysql"
            accepted.append(accept(primary_key, accepted_by="someone"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=try_it, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [acceptance.is_new for acceptance in accepted].count(True) == 1
    delivery = Delivery.objects.get()
    assert set(Rejection.objects.values_list("accepted_as", flat=True)) == {delivery.pk}
