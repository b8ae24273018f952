"""Deliveries as a busy site has them after 90 days, written quickly: by COPY on PostgreSQL.

What is drawn is drawn from a seed, so that two databases of one size hold the same, but for the
moments, which end now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from perfsee_webhooks import events
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection, Replay

from .drawn import SPAN, body_of, headers_of

PROJECTS: Final = tuple(f"web-{number:02}" for number in range(40))
REJECTIONS: Final = 1_000
RECEIVERS: Final = (
    "example_project.board.receivers.keep_score",
    "example_project.board.receivers.announce_score",
)
SETTLED_SHARES: Final = {"succeeded": 970, "unhandled": 20, "dead": 10}
WAITING_SHARE: Final = 0.002
MAX_WAITING: Final = 500
FAILURE_KINDS: Final = 30
REPLAY_EVERY: Final = 40

# One is rare, and none is unknown: to find few or nothing is what takes longest.
_EVENTS: Final = {
    events.BUNDLE_FINISHED: 600,
    events.LAB_SNAPSHOT_REPORT_COMPLETED: 300,
    events.SOURCE_FINISHED: 99,
    events.LAB_SNAPSHOT_COMPLETED: 1,
}
_BATCH: Final = 5_000
_TRACEBACK: Final = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/site/app/module_{number}.py", line {number * 7}, in call_{number}\n'
    f"    return call_{number + 1}(delivery, event, score=score)\n"
    for number in range(6)
)


@dataclass(kw_only=True)
class Filling:
    """The rows of a site of so many deliveries, table by table."""

    number: int
    now: datetime = field(default_factory=timezone.now)
    random: Random = field(default_factory=lambda: Random(7))  # noqa: S311  # no secret

    def write(self) -> None:
        """Write all of it into empty tables of the default database, and have it analyzed."""
        replays = [self._replay(key) for key in range(1, 13)]
        Replay.objects.bulk_create(replays)
        _write(Rejection, (self._rejection(key) for key in range(1, REJECTIONS + 1)))
        for begin in range(1, self.number + 1, _BATCH):
            keys = range(begin, min(begin + _BATCH, self.number + 1))
            deliveries = [self.delivery(key) for key in keys]
            _write(Delivery, deliveries)
            _write(ReceiverRun, (run for row in deliveries for run in self._runs(row)))
        settle_down()

    def write_waiting(self) -> None:
        """Write the deliveries alone, as they are when nobody was told of them."""
        waiting = {
            "state": "received",
            "attempts": 0,
            "next_attempt_at": self.now,
            "handed_over_at": None,
            "settled_at": None,
            "replay_id": None,
        }
        for begin in range(1, self.number + 1, _BATCH):
            keys = range(begin, min(begin + _BATCH, self.number + 1))
            _write(Delivery, (self.delivery(key) | waiting for key in keys))

    def delivery(self, key: int) -> dict[str, Any]:
        """Return a delivery as a row, by its primary key."""
        draw = self.random
        event = draw.choices(tuple(_EVENTS), tuple(_EVENTS.values()))[0]
        project = PROJECTS[min(int(draw.expovariate(0.15)), len(PROJECTS) - 1)]
        branch = "main" if draw.random() < 0.4 else f"feat/{draw.randrange(400):03}-some-change"
        commit = hashlib.sha1(b"%d" % (key // 3), usedforsecurity=False).hexdigest()
        name = draw.choice(("main", "admin", "checkout"))
        at = self.now - SPAN * (1 - key / (self.number + 1)) - timedelta(seconds=5)
        body = body_of(draw, event, project, branch, commit, key)
        row = {
            "id": key,
            "delivery_id": str(UUID(int=draw.getrandbits(128), version=4)),
            "event_type": event,
            "project": project,
            "branch": branch,
            "commit_hash": commit,
            "summary": f"{name} @ {branch} passed, score {draw.randrange(100)}",
            "subject": f"{name} @ {branch}",
            "hook_id": f"hook-{project}-{draw.randrange(2)}",
            "headers": json.dumps(headers_of(event, project)),
            "body": body,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "body_pruned_at": None,
            "verified_by": "SECRETS[0]",
            "received_at": at,
            "lease_token": None,
            "lease_expires_at": None,
            "replay_id": draw.randrange(1, 13) if key % REPLAY_EVERY == 0 else None,
            "repeats": 0,
            "last_repeated_at": None,
            "repeat_log": "",
        }
        if draw.random() < 0.02:
            again = at + timedelta(minutes=3)
            row |= {"repeats": 1, "last_repeated_at": again}
            row["repeat_log"] = f"{again.isoformat()}\t{row['hook_id']}\tSECRETS[0]\n"
        return row | self._standing(key, at)

    def _standing(self, key: int, at: datetime) -> dict[str, Any]:
        """Only the newest wait: on a site that lives, what came earlier is settled."""
        waiting = min(int(self.number * WAITING_SHARE), MAX_WAITING)
        if key > self.number - waiting:
            is_failed = bool(key % 2)
            return {
                "state": "failed" if is_failed else "received",
                "attempts": int(is_failed),
                "next_attempt_at": self.now + timedelta(seconds=key % 600 - 60),
                "handed_over_at": None if is_failed else at,
                "settled_at": None,
            }
        states, weights = tuple(SETTLED_SHARES), tuple(SETTLED_SHARES.values())
        state = self.random.choices(states, weights)[0]
        return {
            "state": state,
            "attempts": 3 if state == "dead" else 1,
            "next_attempt_at": at if state != "dead" else None,
            "handed_over_at": at,
            "settled_at": at + timedelta(seconds=1),
        }

    def _runs(self, delivery: dict[str, Any]) -> Iterator[dict[str, Any]]:
        state, draw = delivery["state"], self.random
        if state in ("received", "unhandled"):
            return
        receivers = RECEIVERS if draw.random() < 0.4 else RECEIVERS[:1]
        is_replayed = delivery["replay_id"] is not None
        for receiver in receivers:
            failures = {"dead": 3, "failed": 1}.get(state, int(draw.random() < 0.01))
            kind = draw.randrange(FAILURE_KINDS)
            for number in range(1, failures + 1):
                yield self._run(delivery, receiver, number, kind)
            if state == "succeeded":
                number = failures + 1
                yield self._run(delivery, receiver, number, None, is_replayed=is_replayed)

    def _run(
        self,
        delivery: dict[str, Any],
        receiver: str,
        number: int,
        kind: int | None,
        *,
        is_replayed: bool = False,
    ) -> dict[str, Any]:
        place = "" if kind is None else f"/srv/site/app/module_{kind}.py:{kind}"
        group = "" if kind is None else hashlib.sha256(place.encode()).hexdigest()[:16]
        trigger = "replay" if is_replayed else "first" if number == 1 else "retry"
        return {
            "delivery_id": delivery["id"],
            "receiver": receiver,
            "number": number,
            "attempt": number,
            "trigger": trigger,
            "outcome": "failed" if place else "succeeded",
            "started_at": delivery["received_at"] + timedelta(seconds=number * 30),
            "duration": timedelta(milliseconds=self.random.randrange(2, 900)),
            "exception": f"ValueError: no score {delivery['id']}" if place else "",
            "gave_up": False,
            "traceback": _TRACEBACK if place else "",
            "place": place,
            "failure_group": group,
            "replay_id": delivery["replay_id"] if is_replayed else None,
            "requested_by": "someone" if is_replayed else "",
        }

    def _replay(self, key: int) -> Replay:
        return Replay(
            pk=key,
            state="paused" if key == 1 else "finished",
            requested_by="someone",
            reason="The chat was down.",
            selected=self.number // (REPLAY_EVERY * 12),
            accepted=self.number // (REPLAY_EVERY * 12),
            cursor=self.number,
            ceiling=self.number,
            selection={"states": ["dead"]},
        )

    def _rejection(self, key: int) -> dict[str, Any]:
        body = b'{"eventType": "bundle:finished"}' * 20
        return {
            "reason": Rejection.Reason.values[key % len(Rejection.Reason.values)],
            "detail": "The signature is not the one of the body.",
            "delivery_id": str(UUID(int=self.random.getrandbits(128), version=4)),
            "event_type": "bundle:finished",
            "project": PROJECTS[key % len(PROJECTS)],
            "hook_id": f"hook-{key % 40}",
            "headers": json.dumps(headers_of("bundle:finished", "web-00")),
            "body": body,
            "body_size": len(body),
            "verified_by": "",
            "received_at": self.now - timedelta(minutes=5 * (REJECTIONS - key)),
            "not_kept": 0,
            "accepted_at": None,
            "accepted_by": "",
            "accepted_as_id": None,
        }


def fill(*, number: int) -> None:
    """Make the tables, and fill them."""
    call_command("migrate", verbosity=0)
    empty()
    Filling(number=number).write()


def fill_waiting(*, number: int) -> None:
    """Make the tables, and fill them with deliveries that wait for the sweep."""
    call_command("migrate", verbosity=0)
    empty()
    Filling(number=number).write_waiting()
    settle_down()


def empty() -> None:
    """Remove all rows of the default database's tables."""
    for model in (ReceiverRun, Rejection, Delivery, Replay):
        model._default_manager.all()._raw_delete(connection.alias)


def settle_down() -> None:
    """Have the database look at its tables, as it does by itself after a while."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for model in (Delivery, ReceiverRun, Rejection, Replay):
                cursor.execute(
                    "SELECT setval(pg_get_serial_sequence(%s, 'id'), (SELECT max(id) FROM "  # noqa: S608  # a table of this app
                    f"{model._meta.db_table}))",
                    [model._meta.db_table],
                )
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")
        elif connection.vendor == "sqlite":
            cursor.execute("ANALYZE")


def _write(model: type[Any], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows that have the same columns, in one statement where the database has COPY."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    columns = tuple(first)
    values = (tuple(row.values()) for row in (first, *rows))
    if connection.vendor == "postgresql":
        _copy(model._meta.db_table, columns, values)
    else:
        _insert(model, columns, values)


def _copy(table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)


def _insert(model: type[Any], columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    names = [field.attname for field in model._meta.concrete_fields]
    made = []
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        values["headers"] = json.loads(values["headers"]) if "headers" in values else None
        made.append(model(**{name: values[name] for name in names if name in values}))
    with transaction.atomic():
        model.objects.bulk_create(made, batch_size=500)
