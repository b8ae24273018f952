"""Forged requests without number: little is kept of them, and nothing genuine is lost.

The figures of the large flood are printed.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import DatabaseError, connection, transaction
from django.db.models import Max, Sum
from django.db.models.functions import Length
from django.http.request import HttpHeaders
from django.test import RequestFactory

from perfsee_webhooks.models import Delivery, Rejection
from perfsee_webhooks.models import rejection as rejections
from perfsee_webhooks.models.rejection import MAX_UNVERIFIED_BODY_BYTES
from perfsee_webhooks.rates import Rate
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.views import ReceiveView

from .conftest import PATH
from .sites import SECRET
from .test_rates import Clock

pytestmark = pytest.mark.django_db

FORGED: Final = 100_000
GENUINE_EVERY: Final = 1000
BODY = sample_body("bundle:finished")
SIGNATURE = "X-Perfsee-Signature-256"

receive = ReceiveView.as_view()
_ENVIRON = RequestFactory().post(PATH, b"", content_type="application/json").META


def environ_of(headers: dict[str, str]) -> dict[str, Any]:
    """The environment of a request, without its body: to be made once for many."""
    sent = {HttpHeaders.to_wsgi_name(name): value for name, value in headers.items()}
    return {**_ENVIRON, **sent, "CONTENT_TYPE": "application/json"}


def answer(environ: dict[str, Any], body: bytes) -> int:
    """Send a request to the view, and return the status of the answer."""
    length = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    status: int = receive(WSGIRequest({**environ, **length})).status_code
    return status


def genuine(delivery_id: str) -> int:
    return answer(environ_of(perfsee_headers(BODY, SECRET, delivery_id=delivery_id)), BODY)


def forged(**changes: str) -> dict[str, Any]:
    return environ_of({**perfsee_headers(BODY, "not the secret"), **changes})


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The rate of strangers on a clock that a test moves."""
    clock = Clock()
    known = rejections.strangers
    rate = Rate(burst=known.burst, per_second=known.per_second, clock=clock)
    monkeypatch.setattr(rejections, "strangers", rate)
    return clock


@pytest.fixture
def statements() -> Any:
    """Each statement that is executed while the test runs."""
    executed: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        executed.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield executed


# How quickly strangers are kept


def test_strangers__are_kept_60_at_once_and_then_one_a_second(clock):
    request = forged()
    assert {answer(request, BODY) for _ in range(100)} == {400}
    assert Rejection.objects.count() == 60
    for seconds, kept in ((0.9, 60), (0.2, 61), (0.5, 61), (3, 64), (1000, 124)):
        clock.now += seconds
        assert {answer(request, BODY) for _ in range(100)} == {400}
        assert Rejection.objects.count() == kept


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE: ""},
        {SIGNATURE: "nonsense"},
        {"X-Perfsee-Delivery": "no id!"},
        {"X-Perfsee-Hook-ID": "7"},
    ],
)
def test_strangers__cost_no_statement_once_they_are_too_many(clock, statements, headers):
    request = forged(**headers)
    for _ in range(rejections.strangers.burst):
        answer(request, BODY)
    statements.clear()
    assert {answer(request, BODY) for _ in range(50)} == {400}
    assert statements == []


def test_strangers__that_are_too_large_cost_no_statement_either(clock, statements, webhook_setting):
    webhook_setting(MAX_BODY_BYTES=10)
    request = forged()
    assert {answer(request, BODY) for _ in range(100)} == {413}
    assert len([sql for sql in statements if sql.startswith("INSERT")]) == 60
    statements.clear()
    assert answer(request, BODY) == 413
    assert statements == []


def test_strangers__are_those_too_whom_the_site_takes_unsigned(clock, webhook_setting):
    webhook_setting(ALLOW_UNSIGNED=True)
    request = forged(**{SIGNATURE: ""})
    assert {answer(request, b"{}") for _ in range(100)} == {400}
    assert Rejection.objects.count() == 60


def test_strangers__that_are_not_kept_are_counted_on_the_next_one(clock):
    request = forged()
    for _ in range(100):
        answer(request, BODY)
    clock.now += 2
    for _ in range(2):
        answer(request, BODY)
    newest = Rejection.objects.order_by("-pk").values_list("not_kept", flat=True)
    assert list(newest[:3]) == [0, 40, 0]


def test_strangers__are_counted_no_further_than_the_column(clock):
    rejections.strangers.count(2**40)
    answer(forged(), BODY)
    assert Rejection.objects.get().not_kept == 2**31 - 1


@pytest.mark.django_db(transaction=True)
def test_strangers__are_counted_where_the_database_did_not_take_one(clock):
    def refuse(*_arguments: Any) -> Any:
        raise DatabaseError("no space left")

    rejections.strangers.count(5)
    with connection.execute_wrapper(refuse):
        assert answer(forged(), BODY) == 400
    assert answer(forged(), BODY) == 400
    assert Rejection.objects.get().not_kept == 6


def test_strangers__are_logged_once_in_a_burst(clock, caplog):
    def told() -> int:
        said = [record for record in caplog.records if "quicker than" in record.message]
        assert {record.levelname for record in said} <= {"WARNING"}
        refused = [record for record in caplog.records if "was refused" in record.message]
        assert len(refused) == Rejection.objects.count()
        assert len(said) + len(refused) == len(caplog.records)
        return len(said)

    request = forged()
    for _ in range(60):
        answer(request, BODY)
    assert told() == 0
    for _ in range(300):
        clock.now += 0.5
        answer(request, BODY)
    assert told() == 1
    clock.now += 100
    for _ in range(300):
        answer(request, BODY)
    assert told() == 2


def signed(number: int) -> tuple[dict[str, Any], bytes]:
    """Return a request that is signed and refused, unlike any with another number."""
    body = BODY + b" " * number
    headers = perfsee_headers(body, SECRET) | {"X-Perfsee-Delivery": "no id!"}
    return environ_of(headers), body


def test_signed_ones__are_always_kept_and_take_no_strangers_place(clock):
    for number in range(100):
        assert answer(*signed(number)) == 400
    assert Rejection.objects.exclude(verified_by="").count() == 100
    for _ in range(100):
        answer(forged(), BODY)
    assert Rejection.objects.of_anyone().count() == 60
    assert answer(*signed(100)) == 400
    assert Rejection.objects.exclude(verified_by="").count() == 101


@pytest.mark.django_db(transaction=True)
def test_signed_ones__are_kept_once_however_often_somebody_sends_them(
    clock, caplog, webhook_setting, statements
):
    """Whoever has read one body on its way can send it again, with any id and any hook."""
    webhook_setting(HOOKS={"narrow": {"PROJECTS": ["another"]}})
    headers = perfsee_headers(BODY, SECRET)
    no_id = environ_of({**headers, "X-Perfsee-Delivery": ""})
    of_another_hook = environ_of({**headers, "X-Perfsee-Hook-ID": "narrow"})
    for _ in range(100):
        assert {answer(no_id, BODY), answer(of_another_hook, BODY)} == {400}
    kept = Rejection.objects.exclude(verified_by="").order_by("pk")
    assert list(kept.values_list("reason", flat=True)) == ["malformed", "project_not_allowed"]
    assert [bytes(row.body) for row in kept] == [BODY, BODY]
    assert caplog.text.count("A request was refused") == 2
    assert sum(sql.startswith("INSERT") for sql in statements) == 2
    answer(forged(), BODY)
    assert Rejection.objects.latest("pk").not_kept == 198


@pytest.mark.django_db(transaction=True)
def test_signed_ones__are_kept_if_they_were_not_committed_at_first(clock):
    request = signed(0)

    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        raise DatabaseError("no")

    with connection.execute_wrapper(refuse):
        assert answer(*request) == 400
    with transaction.atomic():
        assert answer(*request) == 400
        transaction.set_rollback(True)
    assert answer(*request) == 400
    assert Rejection.objects.exclude(verified_by="").count() == 1


# How many of them are kept


def test_flood__is_bounded_by_the_setting_alone(monkeypatch, webhook_setting):
    monkeypatch.setattr(rejections, "strangers", Rate(burst=10**9, per_second=0))
    webhook_setting(KEEP_REJECTIONS=200)
    request, large = forged(), b"x" * (2 * MAX_UNVERIFIED_BODY_BYTES)
    counts = []
    for index in range(3000):
        assert answer(request, large if index % 100 == 0 else BODY) == 400
        if index % 100 == 0:
            assert answer(*signed(index)) == 400
            assert genuine(f"genuine-{index}") == 204
            counts.append(Rejection.objects.of_anyone().count())
    newest = Rejection.objects.latest("pk")
    assert 190 <= max(counts) < 250
    assert newest in Rejection.objects.of_anyone()
    assert Rejection.objects.exclude(verified_by="").count() == 30
    assert Delivery.objects.count() == 30
    longest = Rejection.objects.aggregate(longest=Max(Length("body")))["longest"]
    assert longest == MAX_UNVERIFIED_BODY_BYTES


@pytest.mark.kill
def test_flood__leaves_little_behind_and_loses_nothing(
    nothing_runs, statements, caplog, capsys, record_property
):
    large, too_large = b"x" * 300_000, b"x" * (10 * 1024 * 1024 + 1)
    kinds = [
        (forged(), BODY),
        (forged(**{SIGNATURE: ""}), BODY),
        (forged(**{SIGNATURE: "nonsense"}), b""),
        (forged(**{"X-Perfsee-Delivery": "x" * 10_000, "User-Agent": "y" * 10_000}), b"[" * 5000),
    ]
    answers: Counter[int] = Counter()
    stored = []
    started = time.perf_counter()
    for index in range(FORGED):
        environ, body = kinds[index % len(kinds)]
        if index % 500 < 5:  # those that are kept first, and one in a hundred later
            body = large
        elif index % 20_000 == 10:
            body = too_large
        answers[answer(environ, body)] += 1
        if index % GENUINE_EVERY == 0:
            stored.append(genuine(f"genuine-{index}"))
    seconds = time.perf_counter() - started
    executed = Counter(sql.split()[0] for sql in statements)
    left = rejections.strangers.take_turn()
    rows = Rejection.objects.count()
    kept = Rejection.objects.aggregate(
        bytes=Sum(Length("body")), longest=Max(Length("body")), not_kept=Sum("not_kept")
    )
    headers = sum(len(str(row)) for row in Rejection.objects.values_list("headers", flat=True))
    figures = {
        "requests": f"{FORGED:,} forged, {len(stored)} genuine",
        "seconds": f"{seconds:.1f}",
        "rows": f"{rows} of refused requests",
        "bytes": f"{kept['bytes']:,} of bodies, {headers:,} of headers",
        "statements": executed.total(),
    }
    for name, value in figures.items():
        record_property(name, value)
    with capsys.disabled():
        print("\n" + "\n".join(f"  {name}: {value}" for name, value in figures.items()))
    assert answers == {400: FORGED - 5, 413: 5}
    assert stored == [204] * (FORGED // GENUINE_EVERY)
    assert Delivery.objects.count() == len(stored)
    assert 60 <= rows <= 60 + seconds + 1
    assert rows + kept["not_kept"] + left.refusals - (not left.is_allowed) == FORGED
    assert kept["longest"] == MAX_UNVERIFIED_BODY_BYTES
    assert kept["bytes"] < rows * MAX_UNVERIFIED_BODY_BYTES / 4
    assert headers < rows * 5000
    assert executed["INSERT"] == rows + len(stored)
    assert executed.total() < 2 * executed["INSERT"] + 2 * len(stored)
    assert len([record for record in caplog.records if "quicker than" in record.message]) == 1
