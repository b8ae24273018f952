from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
import time_machine
from django.db import models
from django.test import RequestFactory
from hypothesis import given

from perfsee_webhooks import events
from perfsee_webhooks.envelope import (
    KEPT_HEADERS,
    SIGNATURE_HEADER,
    UNSIGNED,
    Envelope,
    hook_id_in,
    kept_headers,
    parse_body,
    readable_event,
)
from perfsee_webhooks.exceptions import MalformedRequest, ProjectNotAllowed
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.payloads import SnapshotReport
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

from .strategies import ANY_JSON, EVENTS_OF_ANY_TYPES, TEXT, is_storable

SIGNED = "SECRETS[0]"
ID = "3f0e3b3e-6c3a-4b36-9d0e-6f1d4c8f2b11"
HEADERS = {"X-Perfsee-Delivery": ID, "X-Perfsee-Hook-ID": "1"}
FOUND_BY = ("event_type", "project", "hook_id", "branch", "commit_hash", "summary")
NUL_IN_STRINGS = (
    rb'{"eventType":"bundle\u0000:finished","payload":{"data":{"project":'
    rb'{"id":"we\u0000b","artifact":{"branch":"\u0000","hash":"\u0000"}}}}}'
)

UNREADABLE = {
    "empty": b"",
    "not JSON": b"eventType=bundle:finished",
    "broken off": b'{"eventType":"bundle:finished"',
    "two values": b'{"eventType":"bundle:finished"}{}',
    "a list": b'[{"eventType":"bundle:finished"}]',
    "a string": b'"bundle:finished"',
    "a number": b"7",
    "null": b"null",
    "invalid UTF-8": b'{"eventType":"bundle:finished\xff"}',
    "encoded surrogate": b'{"eventType":"bundle:finished\xed\xa0\xbd"}',
    "UTF-16": '{"eventType":"bundle:finished"}'.encode("utf-16"),
    "UTF-16 without mark": '{"eventType":"bundle:finished"}'.encode("utf-16-be"),
    "byte order mark": b'\xef\xbb\xbf{"eventType":"bundle:finished"}',
    "NaN": b'{"eventType":"bundle:finished","payload":NaN}',
    "Infinity": b'{"eventType":"bundle:finished","payload":Infinity}',
    "minus Infinity": b'{"eventType":"bundle:finished","payload":[-Infinity]}',
    "raw control character": b'{"eventType":"bundle:\x00finished"}',
    "deep lists": b'{"eventType":"bundle:finished","payload":'
    + b"[" * 10_000
    + b"]" * 10_000
    + b"}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "number of 5000 digits": b'{"eventType":"bundle:finished","payload":' + b"9" * 5_000 + b"}",
}
ODD = {
    "empty object": (b"{}", events.UNKNOWN),
    "white space": (b' \n{"eventType" : "bundle:finished"}\r\n', events.BUNDLE_FINISHED),
    "null type": (b'{"eventType":null}', events.UNKNOWN),
    "number as type": (b'{"eventType":7}', events.UNKNOWN),
    "list as type": (b'{"eventType":["bundle:finished"]}', events.UNKNOWN),
    "empty type": (b'{"eventType":""}', events.UNKNOWN),
    "new event": (b'{"eventType":"bundle:started"}', "bundle:started"),
    "dashed type": (b'{"eventType":"bundle-finished"}', events.BUNDLE_FINISHED),
    "duplicated key": (b'{"eventType":"a","eventType":"b"}', "b"),
    "over-long type": (b'{"eventType":"' + b"a" * 5_000 + b'"}', "a" * 99 + "…"),
    "nul": (NUL_IN_STRINGS, "bundle\ufffd:finished"),
    "lone surrogate": (rb'{"eventType":"\ud83d"}', "\ufffd"),
    "surrogate pair": (rb'{"eventType":"\ud83d\udd11"}', "🔑"),
    "line end": (rb'{"eventType":"a\nb"}', "a\ufffdb"),
    "null payload": (b'{"eventType":"lab:a","payload":null}', "lab:a"),
    "number of 4000 digits": (b'{"eventType":"lab:a","payload":' + b"9" * 4_000 + b"}", "lab:a"),
    "infinite float": (
        b'{"eventType":"bundle:finished","payload":{"data":{"project":{"artifact":{"score":1e999}}}}}',
        events.BUNDLE_FINISHED,
    ),
}


def read(body: bytes = b"{}", verified_by: str = SIGNED, **headers: str) -> Envelope:
    return Envelope.read(body, {**HEADERS, **headers}, verified_by)


def body_about(project: Any, variables: Any) -> bytes:
    return json.dumps({"payload": {"data": {"project": project}, "variables": variables}}).encode()


def is_storable_in_its_columns(envelope: Envelope) -> bool:
    columns = [
        field for field in Delivery._meta.get_fields() if isinstance(field, models.CharField)
    ]
    texts = {column: getattr(envelope, column.name, "") for column in columns}
    return all(is_storable(text, column.max_length or 0) for column, text in texts.items())


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_read__samples(event_type):
    body = sample_body(event_type)
    headers = perfsee_headers(body, "secret", delivery_id=ID, hook_id="1")
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        envelope = Envelope.read(body, headers, SIGNED)
    assert envelope.body == body
    assert envelope.body_sha256 == hashlib.sha256(body).hexdigest()
    assert envelope.headers == {k: v for k, v in headers.items() if k != SIGNATURE_HEADER}
    assert (envelope.delivery_id, envelope.hook_id) == (ID, "1")
    assert (envelope.event_type, envelope.project) == (event_type, "perfsee")
    assert (envelope.verified_by, envelope.received_at) == (SIGNED, now)
    assert envelope.summary


@pytest.mark.parametrize(
    ("project", "branch", "commit_hash"),
    [
        ({"artifact": {"branch": "b", "hash": "h"}}, "b", "h"),
        ({"snapshot": {"hash": "h"}}, "", "h"),
        ({"snapshot": {"hash": None}}, "", ""),
        ({"snapshotReport": {"artifacts": [{"branch": "b", "hash": "h"}]}}, "", ""),
        ({"artifact": {"branch": "b" * 300, "hash": 7}}, "b" * 199 + "…", "7"),
        (None, "", ""),
    ],
    ids=["bundle", "snapshot", "snapshot of no commit", "report", "long", "null"],
)
def test_read__branch_and_commit(project, branch, commit_hash):
    envelope = read(body_about(project, None))
    assert (envelope.branch, envelope.commit_hash) == (branch, commit_hash)


def test_read__body_is_the_truth():
    envelope = read(
        sample_body("bundle:finished"),
        **{"X-Perfsee-Event": "source:finished", "X-Perfsee-Hook-Project": "forged"},
    )
    assert (envelope.event_type, envelope.project) == (events.BUNDLE_FINISHED, "perfsee")
    assert envelope.headers["X-Perfsee-Hook-Project"] == "forged"


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_read__signed_but_unreadable_is_kept(body):
    envelope = read(body)
    assert envelope.body == body
    assert [getattr(envelope, name) for name in FOUND_BY] == ["unknown", "", "1", "", "", ""]
    assert readable_event(body).raw == {}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_read__unsigned_and_unreadable_is_refused(body):
    with pytest.raises(MalformedRequest, match="The unsigned body is not a JSON object"):
        read(body, UNSIGNED)
    with pytest.raises(ValueError):  # noqa: PT011  # of the JSON parser, of the codec or our own
        parse_body(body)


@pytest.mark.parametrize(("body", "event_type"), ODD.values(), ids=ODD)
def test_read__odd_but_readable(body, event_type):
    envelope = read(body)
    assert (envelope.event_type, envelope.body) == (event_type, body)
    assert is_storable_in_its_columns(envelope)


@pytest.mark.parametrize("body", [b"{}", b'{"eventType":7}', b'{"eventType":null}'])
def test_read__unsigned_without_event_type_is_refused(body):
    with pytest.raises(MalformedRequest, match="has no 'eventType'"):
        read(body, UNSIGNED)


def test_read__unsigned():
    assert read(sample_body("bundle:finished"), UNSIGNED).verified_by == UNSIGNED


@pytest.mark.parametrize(
    "delivery_id", [ID, "1", "a" * 128, "A.b_c:d~e=f+g@h-i"], ids=["uuid", "1", "longest", "signs"]
)
def test_read__delivery_id(delivery_id):
    assert read(**{"X-Perfsee-Delivery": delivery_id}).delivery_id == delivery_id


@pytest.mark.parametrize("verified_by", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("headers", [{}, {"X-Perfsee-Delivery": ""}], ids=["missing", "empty"])
def test_read__no_delivery_id(headers, verified_by):
    with pytest.raises(MalformedRequest, match="has no X-Perfsee-Delivery header"):
        Envelope.read(sample_body("bundle:finished"), headers, verified_by)


UNUSABLE_IDS = [
    "a" * 129,
    f"{ID},{ID}",
    f"{ID}, {ID}",
    *(" a", "a ", "a\n", "a\x00", "�", "é", "\N{FULLWIDTH DIGIT ONE}"),
    *("..", "-a", "a/b", "a\\b", "a%b", "a'b", "<a>"),
]


@pytest.mark.parametrize("delivery_id", UNUSABLE_IDS, ids=repr)
def test_read__unusable_delivery_id(delivery_id):
    with pytest.raises(MalformedRequest, match="is not one id of at most 128") as raised:
        read(**{"X-Perfsee-Delivery": delivery_id})
    assert delivery_id not in str(raised.value) or len(delivery_id) < 3


def test_envelope__repr_shows_no_body():
    assert "canary" not in repr(read(b'{"eventType":"a","canary":1}'))


def meta(**headers: str) -> dict[str, Any]:
    """Return the META of a request; headers as the server hands them over, in Latin-1."""
    return RequestFactory().post("/", b"{}", "application/json", headers=headers).META


def test_kept_headers__those_of_perfsee_and_of_proxies():
    sent = dict.fromkeys(KEPT_HEADERS, "value") | {"Content-Length": "2"}
    assert kept_headers(meta(**sent)) == sent


@pytest.mark.parametrize(
    "name", ["Cookie", "Authorization", "Proxy-Authorization", "X-Api-Key", "X-CSRFToken"]
)
def test_kept_headers__whatever_may_be_secret_is_left_out(name):
    assert "canary" not in str(kept_headers(meta(**{name: "canary"})))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("中文".encode().decode("latin-1"), "中文"),
        ("\xff\xfe", "��"),
        ("中文", "中文"),
        ("a" * 501, "a" * 499 + "…"),
        ("a\x00b\x1bc\nd", "a�b�c�d"),
        ("\u202ea", "�a"),
    ],
    ids=["UTF-8", "invalid UTF-8", "no Latin-1", "over-long", "control", "direction"],
)
def test_kept_headers__hostile_value(value, kept):
    assert kept_headers(meta(**{"User-Agent": value}))["User-Agent"] == kept


def test_kept_headers__empty_is_left_out():
    assert "Via" not in kept_headers(meta(Via=""))


@pytest.mark.parametrize(
    ("headers", "hook_id"),
    [
        ({}, ""),
        ({"X-Perfsee-Hook-ID": "1"}, "1"),
        ({"X-Perfsee-Hook-ID": "h" * 500}, "h" * 99 + "…"),
    ],
    ids=["missing", "short", "over-long"],
)
def test_hook_id_in(headers, hook_id):
    assert hook_id_in(headers) == hook_id


@pytest.mark.parametrize(
    ("project", "variables", "patterns"),
    [
        ({"id": "web-a"}, {"projectSlug": "web-a"}, None),
        (None, None, None),
        ({"id": "web-a"}, {"projectSlug": "web-a"}, ["api", "web-*"]),
        ({"id": "web-a"}, {"projectSlug": "web-b"}, ["web-*"]),
        ({"id": "web-a"}, None, ["web-a"]),
        (None, {"projectSlug": "web-a"}, ["web-*"]),
        (None, {"projectId": "web-a"}, ["web-*"]),
        ({"id": "Web"}, None, ["[A-Z]eb"]),
    ],
)
def test_require_project__allowed(project, variables, patterns):
    read(body_about(project, variables)).require_project(patterns)


@pytest.mark.parametrize(
    ("project", "variables", "patterns"),
    [
        ({"id": "api"}, {"projectSlug": "api"}, ["web-*"]),
        ({"id": "web-a"}, {"projectSlug": "api"}, ["web-*"]),
        ({"id": "api"}, {"projectSlug": "web-a"}, ["web-*"]),
        ({"id": "web-a"}, {"projectId": "api"}, ["web-*"]),
        ({"id": ""}, {"projectSlug": "web-a"}, ["web-*"]),
        ({"id": "WEB-a"}, None, ["web-*"]),
        ({"id": "web-a\napi"}, None, ["web-?"]),
        (None, {"projectId": "api"}, ["web-*"]),
        (None, None, ["*"]),
        ({"id": "web-a"}, {"projectSlug": "web-a"}, []),
    ],
)
def test_require_project__refused(project, variables, patterns):
    with pytest.raises(ProjectNotAllowed) as raised:
        read(body_about(project, variables)).require_project(patterns)
    assert "web-" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"[]"])
def test_require_project__unreadable_body_names_none(body):
    with pytest.raises(ProjectNotAllowed):
        read(body).require_project(["*"])


@given(raw=ANY_JSON | EVENTS_OF_ANY_TYPES, header=TEXT)
def test_read__any_signed_json_is_storable(raw, header):
    body = json.dumps(raw).encode()
    headers = kept_headers({"HTTP_X_PERFSEE_HOOK_ID": header, "HTTP_X_PERFSEE_EVENT": header})
    envelope = read(body, **headers)
    envelope.require_project(None)
    assert envelope.body == body
    assert is_storable_in_its_columns(envelope)
    assert all(is_storable(value, max_length=500) for value in envelope.headers.values())


def test_read__many_reports_of_a_signed_body_are_counted_and_not_read(monkeypatch):
    monkeypatch.setattr(SnapshotReport, "read", Mock(side_effect=AssertionError("It was read.")))
    reports = [{"status": "Failed"}, {"id": 1, "artifacts": [{}]}, None, 7] * 1000
    project = {"id": "web", "snapshot": {"title": "Nightly", "snapshotReports": reports}}
    raw = {"eventType": "lab:snapshot-completed", "payload": {"data": {"project": project}}}
    envelope = read(json.dumps(raw).encode())
    assert envelope.summary == "Nightly finished, 2000 reports, 1000 failed"
    assert envelope.project == "web"


@pytest.mark.parametrize(
    "body",
    [*UNREADABLE.values(), *(body for body, _ in ODD.values())],
    ids=[*UNREADABLE, *ODD],
)
def test_read__stored_and_read_back(db, body):
    envelope = read(body)
    Delivery.objects.record(envelope)
    stored = Delivery.objects.get()
    assert bytes(stored.body) == body
    assert {name: getattr(stored, name) for name in FOUND_BY} == {
        name: getattr(envelope, name) for name in FOUND_BY
    }
    assert stored.event.raw == readable_event(body).raw
