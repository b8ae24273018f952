"""A short run of `python -m proof.fuzz`, and that it finds what it looks for."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from perfsee_webhooks import export, text
from perfsee_webhooks.envelope import DELIVERY_HEADER, Envelope
from proof.fuzz import bodies, framing, in_process, over_http, requests
from proof.fuzz.__main__ import main
from proof.fuzz.findings import Tally
from proof.fuzz.wire import STORED, Attempt, Sent, Signer

from .sites import SECRET, Site
from .strategies import ANY_JSON, EVENTS_OF_ANY_TYPES

pytestmark = pytest.mark.once

# Another one each time; a failure shows it, and what it made.
SEED = secrets.randbits(32)
SECONDS = 5
REQUESTS = 100

BODIES = st.binary() | (EVENTS_OF_ANY_TYPES | ANY_JSON).map(lambda raw: json.dumps(raw).encode())


@pytest.mark.parametrize("server", over_http.SERVERS)
def test_over_http__nothing_found(server, tmp_path, record_property):
    tally = Tally()
    over_http.run(
        tally, seconds=SECONDS, seed=SEED, server=server, folder=tmp_path, at_least=REQUESTS
    )
    record_property("requests", tally.tried.total())
    assert not tally.found, tally.report()
    assert tally.tried.total() >= REQUESTS
    assert tally.answers[204] > 10


def test_in_process__nothing_found(record_property):
    tally = Tally()
    in_process.run(tally, seconds=SECONDS, seed=SEED)
    record_property("inputs", tally.tried.total())
    assert not tally.found, tally.report()
    assert tally.tried.total() > 100


@seed(SEED)
@settings(max_examples=200)
@given(body=BODIES, before=BODIES, random=st.randoms())
def test_in_process__nothing_found_by_hypothesis(body, before, random):
    print(f"seed {SEED}")
    with override_settings(PERFSEE_WEBHOOKS=in_process.SETTING):
        in_process.check_all(random, body, before)


def test_command__tries_one_input_again(capsys, monkeypatch):
    assert main(["--again", "7/12"]) == 0
    assert "1 inputs" in capsys.readouterr().out
    monkeypatch.setattr(text, "_shortened", lambda value, _max_length: value + value)
    assert main(["--again", "7/12"]) == 1
    assert "seed: 7/12" in capsys.readouterr().out


def test_try_one__is_made_again_by_its_seed(monkeypatch):
    made: list[bytes] = []
    monkeypatch.setattr(in_process, "check_all", lambda *inputs: made.append(inputs[1]))
    for _ in range(2):
        in_process.try_one(Tally(), "7/12")
    assert len(made) == 2
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (text, "_UNFIT_IN_A_LINE", re.compile("\x00")),
        (text, "_shortened", lambda value, _max_length: value),
        (export, "_FORMULA", re.compile("=")),
        (export, "escaped", lambda written: written),
    ],
    ids=lambda value: str(value)[:20],
)
def test_in_process__finds_what_is_broken(monkeypatch, module, name, value):
    monkeypatch.setattr(module, name, value)
    tally = Tally()
    for number in range(300):
        in_process.try_one(tally, f"1/{number}")
    assert tally.found
    assert "seed: 1/" in tally.report()


@pytest.mark.parametrize("maker", over_http.MAKERS)
def test_makers__make_the_same_again(maker):
    signer = Signer(secret=SECRET)
    for number in range(3):
        first, second = (maker(Random(number), signer) for _ in range(2))
        assert first == second
        assert first.data == second.data


@pytest.mark.parametrize("maker", [requests.good, requests.signed_body, requests.large])
def test_makers__expect_a_signed_body_to_be_stored(maker):
    attempt = maker(Random(1), Signer(secret=SECRET))
    assert attempt.expected == STORED
    assert attempt.data.endswith(attempt.signed[0].body)


def test_makers__are_all_used():
    made = {
        name
        for module in (requests, framing)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and callable(value)
    }
    used = {maker.__name__ for maker in (*over_http.MAKERS, *over_http.LARGE_MAKERS)}
    assert made == used | {"good"}


def test_large__is_json():
    assert json.loads(bodies.large(Random(1)))


# What is found in what a site has left behind


def fuzzer(tally: Tally) -> over_http.Fuzzer:
    return over_http.Fuzzer(Site(origin="http://127.0.0.1:1", environment={}), tally, "1")


def row(body: bytes, **changes: Any) -> dict[str, Any]:
    envelope = Envelope.read(body, {DELIVERY_HEADER: "one"}, "SECRETS[0]")
    names = ("delivery_id", "verified_by", "body", *over_http._COLUMNS)
    return {name: getattr(envelope, name) for name in names} | changes


@pytest.fixture
def deliveries() -> Iterator[sqlite3.Connection]:
    columns = ", ".join(row(b""))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE perfsee_webhooks_delivery ({columns})")
        connection.execute("CREATE TABLE perfsee_webhooks_rejection (verified_by, body)")
        yield connection


BODY = bodies.SAMPLES[0]


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        (row(BODY), []),
        (row(BODY, verified_by="unsigned"), ["'one' is stored, and nobody signed it"]),
        (row(BODY, summary="other"), ["'one' has columns that its body does not say"]),
        (row(BODY, delivery_id="two"), ["'one' was acknowledged, and is not stored"]),
        (
            row(b"{}"),
            [
                "'one' is stored, and nobody signed it",
                "'one' has another body than was acknowledged",
            ],
        ),
    ],
)
def test_wrong_deliveries__found(deliveries, stored, found):
    tally = Tally()
    sender = fuzzer(tally)
    sender.signed.add(hashlib.sha256(BODY).digest())
    sender.acknowledged["one"] = hashlib.sha256(BODY).digest()
    places = ", ".join("?" * len(stored))
    deliveries.execute(
        f"INSERT INTO perfsee_webhooks_delivery VALUES ({places})",  # noqa: S608  # question marks
        list(stored.values()),
    )
    wrong = list(over_http._wrong_deliveries(deliveries, sender, tally))
    assert [*wrong, *(finding.what for finding in tally.findings)] == found


@pytest.mark.parametrize(
    ("verified_by", "body", "copies", "found"),
    [
        ("", b"", 71, 0),
        ("", b"", 72, 1),
        ("", b"x" * (128 * 1024 + 1), 1, 1),
        ("SECRETS[0]", b"nobody signed it", 1, 1),
        ("SECRETS[0]", BODY, 200, 0),
    ],
)
def test_wrong_rejections__found(deliveries, verified_by, body, copies, found):
    sender = fuzzer(Tally())
    sender.signed.add(hashlib.sha256(BODY).digest())
    kept = [(verified_by, body)] * copies
    deliveries.executemany("INSERT INTO perfsee_webhooks_rejection VALUES (?, ?)", kept)
    assert len(list(over_http._wrong_rejections(deliveries, sender, seconds=10))) == found


def test_tracebacks__found_but_for_those_of_the_sites_receivers():
    head = ["a line\n", "Traceback (most recent call last):\n", '  File "a", line 1\n', "    b()\n"]
    expected = [*head, "example_project.board.receivers.ImpossibleScore: 101\n"]
    assert list(over_http._tracebacks(expected)) == []
    (found,) = over_http._tracebacks([*expected, *head, "ValueError: c\n", "a line\n"])
    assert found.endswith("ValueError: c\n")


@pytest.mark.parametrize(
    ("expected", "statuses", "is_found"),
    [
        (frozenset(), [400, 204, 501], False),
        (frozenset(), [], False),
        (frozenset(), [400, 500], True),
        (frozenset(), [503], True),
        (STORED, [204], False),
        (STORED, [400], True),
        (STORED, [], True),
        (STORED, [204, 204], True),
    ],
)
def test_attempt__answer_is_held_against_what_is_expected(
    monkeypatch, expected, statuses, is_found
):
    tally = Tally()
    sender = fuzzer(tally)
    answer = b"".join(b"HTTP/1.1 %d A\r\n\r\n" % status for status in statuses)
    monkeypatch.setattr(sender, "_answer", lambda _attempt: answer)
    sent = Sent(delivery_id="one", body=BODY)
    attempt = Attempt(kind="a kind", data=b"", signed=(sent,), expected=expected)
    sender.attempt(attempt, "1/1")
    assert bool(tally.found) is is_found
    assert tally.tried == {"a kind": 1}
    assert ("one" in sender.acknowledged) is (expected == STORED and statuses == [204])
