"""A month of a shop's deliveries, and the people who look at them.

The site that the browser visits fills its own database with it: `manage.py shell` calls `fill`.
"""

from __future__ import annotations

import json
import random
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.models import Delivery, Heartbeat, ReceiverRun, Rejection, Replay
from perfsee_webhooks.models.heartbeat import SWEEP
from perfsee_webhooks.processing import call_receiver
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.signals import receivers_of

DAYS = 28
HOOKS = {
    "storefront": "7d1f5f0a-52a9-4d0b-9f3e-0c6a1f2f8a11",
    "checkout": "c2a4be83-1f0e-4c57-8a43-5d9a2a1b7e42",
    "mobile-app": "f00c9a1e-7b1d-4a55-b6a0-93c1b1f1d6c3",
}
SILENT_PROJECT, SILENT_FOR_DAYS = "docs", 6
PEOPLE = {
    "admin": ["*"],
    "viewer": ["view_delivery", "view_delivery_body", "view_rejection", "view_replay"],
    "stranger": [],
}

_KEEP_SCORE = "example_project.board.receivers.keep_score"
_ANNOUNCE = "example_project.board.receivers.announce_score"
_KEEP_REPORTS = "example_project.board.receivers.keep_reports"
_RECEIVERS = {
    "bundle:finished": ((_KEEP_SCORE, 6), (_ANNOUNCE, 140)),
    "lab:snapshot-completed": ((_KEEP_REPORTS, 22),),
    "source:finished": (),
}
_CHAT_IS_DOWN = (
    "HTTPError: HTTP Error 503: Service Unavailable",
    """\
Traceback (most recent call last):
  File "/srv/shop/board/receivers.py", line 62, in announce_score
    with urlopen(request, timeout=CHAT_TIMEOUT_SECONDS):
         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.13/urllib/request.py", line 189, in urlopen
    return opener.open(url, data, timeout)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.13/urllib/request.py", line 613, in http_error_default
    raise HTTPError(req.full_url, code, msg, hdrs, fp)
urllib.error.HTTPError: HTTP Error 503: Service Unavailable
""",
)
_IMPOSSIBLE = (
    "ImpossibleScore: 570 is not between 0 and 100",
    """\
Traceback (most recent call last):
  File "/srv/shop/board/receivers.py", line 31, in keep_score
    raise ImpossibleScore(f"{artifact.score} is not between 0 and 100")
example_project.board.receivers.ImpossibleScore: 570 is not between 0 and 100
""",
)


def fill() -> None:
    """Store it all, and print the keys of the sessions and of some rows, as JSON."""
    Shop().fill()
    sessions = {name: _session_of(name, rights) for name, rights in PEOPLE.items()}
    dead = Delivery.objects.filter(state="dead", project="storefront").latest("received_at")
    rows = {"delivery": dead.pk, "replay": Replay.objects.get().pk}
    print(json.dumps({"sessions": sessions, "rows": rows}))


def add_builds(project: str, number: int) -> None:
    """Store that many deliveries about a project, each succeeded."""
    shop = Shop(project)
    earlier = shop.now - timedelta(days=40)
    Delivery.objects.bulk_create(
        [shop._delivery(earlier, "bundle:finished", project) for _ in range(number)]
    )


class Shop:
    """What came in the last weeks, the same in each run but for the dates."""

    def __init__(self, seed: str = "shop") -> None:
        self.random = random.Random(seed)
        self.now = timezone.now()
        self.midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.outage_ended = self.midnight - timedelta(days=9, hours=3)
        self.number = 100
        self.runs: list[ReceiverRun] = []
        self.replay = Replay(
            requested_by="maria",
            reason="The chat is back",
            state=Replay.State.FINISHED,
            selection={"states": ["dead"], "project": "storefront"},
            selected=3,
            accepted=3,
            ended_at=self.outage_ended + timedelta(minutes=1),
        )

    def fill(self) -> None:
        self.replay.save()
        Replay.objects.update(requested_at=self.outage_ended)
        moments = sorted(self._moments())
        Delivery.objects.bulk_create([self._delivery(*moment) for moment in moments])
        ReceiverRun.objects.bulk_create(self.runs)
        Rejection.objects.bulk_create(self._rejections())
        Heartbeat.objects.beat(SWEEP)
        self._keep_the_board()

    def _keep_the_board(self) -> None:
        latest = Delivery.objects.filter(state=Delivery.State.SUCCEEDED)
        for delivery in latest[:40]:
            for receiver in receivers_of(delivery.event_type, sender=Delivery):
                if receiver.label != _ANNOUNCE:
                    call_receiver(receiver, delivery)

    def _moments(self) -> list[tuple[datetime, str, str, str]]:
        """Return when what came about which project, and what became of it unless it went well."""
        found = []
        for day in range(DAYS):
            midnight = self.midnight - timedelta(days=day)
            builds = 2 if midnight.weekday() > 4 else 5
            for project in HOOKS:
                for _ in range(self.random.randrange(builds - 1, builds + 2)):
                    at = midnight + timedelta(hours=8, seconds=self.random.randrange(36_000))
                    found.append((at, "bundle:finished", project, ""))
                nightly = midnight + timedelta(hours=2)
                found.append((nightly, "lab:snapshot-completed", project, ""))
                found.append((nightly + timedelta(minutes=6), "source:finished", project, ""))
            if day > SILENT_FOR_DAYS:
                at = midnight + timedelta(hours=9)
                found.append((at, "bundle:finished", SILENT_PROJECT, ""))
        for minutes in (50, 35, 20):
            at = self.outage_ended - timedelta(minutes=minutes)
            found.append((at, "bundle:finished", "storefront", "replayed"))
        # Whatever the time of day is, something came in the last hours.
        fates = ["failed", "impossible", "", "dead", "", "", "dead"] + [""] * 8
        for ago, (project, fate) in enumerate(zip([*HOOKS] * 5, fates, strict=True)):
            at = self.now - timedelta(minutes=27 * ago + 4)
            found.append((at, "bundle:finished", project, fate))
        return [moment for moment in found if moment[0] < self.now]

    def _delivery(self, at: datetime, event_type: str, project: str, fate: str = "") -> Delivery:
        self.number += 1
        body = self._body(at, event_type, project, is_impossible=fate == "impossible")
        hook_id = HOOKS.get(project, "0b8e4a57-0000-4000-8000-2b1f6f7c9d05")
        headers = perfsee_headers(body, None, delivery_id=self._uuid(), hook_id=hook_id)
        envelope = replace(Envelope.read(body, headers, "SECRETS[0]"), received_at=at)
        delivery = Delivery(
            **{field.name: getattr(envelope, field.name) for field in fields(Envelope)},
            state=Delivery.State.SUCCEEDED if _RECEIVERS[event_type] else Delivery.State.UNHANDLED,
            attempts=1,
            settled_at=at + timedelta(seconds=1),
        )
        self._meet(delivery, fate)
        return delivery

    def _meet(self, delivery: Delivery, fate: str) -> None:
        """Let a delivery's receivers run, and fail as it was meant to be."""
        at = delivery.received_at
        match fate:
            case "impossible":
                self._run(delivery, _KEEP_SCORE, 1, "first", at, error=_IMPOSSIBLE)
                self._run(delivery, _ANNOUNCE, 1, "first", at)
                delivery.state = Delivery.State.DEAD
            case "failed":
                self._fail_to_announce(delivery, attempts=2)
                delivery.state, delivery.settled_at = Delivery.State.FAILED, None
                delivery.next_attempt_at = self.now + timedelta(minutes=25)
                delivery.handed_over_at = delivery.next_attempt_at
            case "dead":
                self._fail_to_announce(delivery, attempts=4)
                delivery.state = Delivery.State.DEAD
            case "replayed":
                self._fail_to_announce(delivery, attempts=3)
                self._run(delivery, _ANNOUNCE, 4, "replay", self.outage_ended, replay=self.replay)
                delivery.replay, delivery.attempts = self.replay, 1
            case _:
                for receiver, _milliseconds in _RECEIVERS[delivery.event_type]:
                    self._run(delivery, receiver, 1, "first", at)

    def _fail_to_announce(self, delivery: Delivery, attempts: int) -> None:
        delivery.attempts = attempts
        self._run(delivery, _KEEP_SCORE, 1, "first", delivery.received_at)
        at = delivery.received_at
        for number in range(1, attempts + 1):
            trigger = "first" if number == 1 else "retry"
            self._run(delivery, _ANNOUNCE, number, trigger, at, error=_CHAT_IS_DOWN)
            at += timedelta(seconds=40 * number)

    def _run(
        self,
        delivery: Delivery,
        receiver: str,
        number: int,
        trigger: str,
        at: datetime,
        *,
        error: tuple[str, str] | None = None,
        replay: Replay | None = None,
    ) -> None:
        usual = dict(_RECEIVERS[delivery.event_type])[receiver]
        exception, traceback = error or ("", "")
        run = ReceiverRun(
            delivery=delivery,
            receiver=receiver,
            number=number,
            attempt=number,
            trigger=trigger,
            outcome="failed" if error else "succeeded",
            started_at=at + timedelta(milliseconds=len(self.runs) % 50),
            duration=timedelta(milliseconds=usual * self.random.lognormvariate(0, 0.4)),
            exception=exception,
            traceback=traceback,
            gave_up=error is _IMPOSSIBLE,
            replay=replay,
            requested_by=replay.requested_by if replay else "",
        )
        if error:
            run._group()
        self.runs.append(run)

    def _body(
        self, at: datetime, event_type: str, project: str, *, is_impossible: bool = False
    ) -> bytes:
        value = json.loads(sample_body(event_type))
        told = value["payload"]["data"]["project"]
        told |= {"id": project, "namespace": "shop", "name": project}
        moment = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if event_type == "bundle:finished":
            artifact = told["artifact"]
            artifact |= {
                "id": self.number,
                "branch": self.random.choice(["main", "main", "feat/basket", "fix/fonts"]),
                "name": self.random.choice(["web", "web", "admin"]),
                "hash": f"{self.random.getrandbits(160):040x}",
                "status": "Failed" if self.random.random() < 0.1 else "Passed",
                "duration": self.random.randrange(4000, 9000),
                "score": self.random.randrange(61, 94),
                "createdAt": moment,
            }
            artifact["baseline"] |= {"id": self.number - 1, "score": 78, "createdAt": moment}
            artifact["score"] = 570 if is_impossible else artifact["score"]
        elif event_type == "lab:snapshot-completed":
            told["snapshot"] |= {"id": self.number, "title": "Nightly", "createdAt": moment}
            names = ("Home", "Basket")
            for name, report in zip(names, told["snapshot"]["snapshotReports"], strict=True):
                page = {"name": name, "url": f"https://{project}.example/{name.lower()}"}
                report |= {"createdAt": moment, "failedReason": None}
                report["page"] |= page
            told["snapshot"]["snapshotReports"][1]["failedReason"] = "Timeout after 60 s"
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def _uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    def _rejections(self) -> list[Rejection]:
        body = self._body(self.now, "bundle:finished", "checkout")
        reasons = ["wrong_signature", "wrong_signature", "missing_signature", "too_large"]
        return [
            Rejection(
                reason=reason,
                detail="The signature was made with another secret, or for other bytes.",
                delivery_id=self._uuid(),
                event_type="bundle:finished",
                project="checkout",
                hook_id=HOOKS["checkout"],
                body=body,
                body_size=len(body),
                received_at=self.now - timedelta(hours=ago + 1),
                not_kept=ago * 7,
            )
            for ago, reason in enumerate(reasons)
        ]


def _session_of(username: str, rights: list[str]) -> str:
    """Create a member of the staff who is logged in; return the key of the session."""
    user = User(username=username, is_staff=True, is_superuser="*" in rights)
    user.set_unusable_password()
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    session = SessionStore()
    known: dict[str, Any] = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    session.update(known)
    session.create()
    assert session.session_key
    return session.session_key
