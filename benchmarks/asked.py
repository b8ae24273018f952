"""What people, programs and the app itself ask of a site again and again, each with an address."""

from __future__ import annotations

import io
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.core.management import CommandError, call_command
from django.utils import timezone

from perfsee_webhooks import events, pruning, replay
from perfsee_webhooks.admin.base import MAX_COUNT
from perfsee_webhooks.management.following import Follower
from perfsee_webhooks.models import Delivery, ReceiverRun
from perfsee_webhooks.selection import Selection
from perfsee_webhooks.stats import stats

_ADMIN: Final = "/admin/perfsee_webhooks/"
_LIST: Final = f"{_ADMIN}delivery/"
_API: Final = "/api/"
_NAMED: Final = ("delivery_id", "commit_hash", "received_at", "project", "branch", "hook_id")


def addresses() -> dict[str, str]:
    """Return the addresses to ask for in the default database, by what each shows."""
    now = timezone.now()
    middle = Delivery.objects.order_by("pk").only(*_NAMED)[Delivery.objects.count() // 2]
    dead = Delivery.objects.filter(state="dead").order_by("-pk").only(*_NAMED)[0]
    group = ReceiverRun.objects.failures().values_list("failure_group", flat=True)[0]
    last = -(-min(Delivery.objects.count(), MAX_COUNT + 1) // 50)
    found = dict(_admin_lists(now, middle, group, last))
    found |= _details(middle, dead, group)
    found |= dict(_api(now, middle, group))
    return found


def _admin_lists(now: Any, middle: Delivery, group: str, last: int) -> Iterator[tuple[str, str]]:
    def listed(name: str, **query: Any) -> tuple[str, str]:
        return f"list: {name}", f"{_LIST}?{urlencode(query)}"

    yield listed("first page")
    yield listed("second page", p=2)
    yield listed("last page that can be reached", p=last)
    yield listed("oldest first", o="3")
    yield listed("oldest first, last page", o="3", p=last)
    yield listed("newest first", o="-3")
    for state in Delivery.State.values:
        yield listed(f"state {state}", state__exact=state)
    yield listed("state succeeded, last page", state__exact="succeeded", p=last - 20)
    yield listed("state dead, oldest first", state__exact="dead", o="3")
    for event in (*events.KNOWN, "other"):
        yield listed(f"event {event}", event=event)
    yield listed("event source:finished, last page", event="source:finished", p=last // 11)
    yield listed("event bundle:finished and dead", event="bundle:finished", state__exact="dead")
    yield listed("event other and dead", event="other", state__exact="dead")
    for project in ("web-00", "web-30", "none-such"):
        yield listed(f"project {project}", project=project)
    yield listed("project and dead", project="web-30", state__exact="dead")
    yield listed("project and event", project="web-30", event="source:finished")
    yield listed("project, oldest first", project="web-30", o="3")
    for name, days in {"today": 1, "past 7 days": 7, "this month": 30, "this year": 365}.items():
        since = (now - timedelta(days=days)).isoformat(" ")
        until = (now + timedelta(days=1)).isoformat(" ")
        yield listed(f"received {name}", received_at__gte=since, received_at__lt=until)
    yield listed("replay", replay=3)
    yield listed("replay and dead", replay=3, state__exact="dead")
    yield listed("failure group", failure_group=group)
    yield listed("failure group and event", failure_group=group, event="bundle:finished")
    words = {
        "a delivery id": middle.delivery_id,
        "the beginning of a delivery id": middle.delivery_id[:8],
        "the beginning of a commit": middle.commit_hash[:7],
        "a branch": "feat/007",
        "the branch main": "main",
        "a project": "web-30",
        "the beginning of every project": "web-",
        "a hook": middle.hook_id,
        "nothing": "nonesuch",
        "two words": "web-30 feat/007",
        "two words, one finds nothing": "web-00 nonesuch",
    }
    for name, text in words.items():
        yield listed(f"search {name}", q=text)
    yield listed("search nothing, succeeded", q="nonesuch", state__exact="succeeded")
    yield listed("search main, dead", q="main", state__exact="dead")
    for name in ("rejection", "replay"):
        yield f"{name}s: first page", f"{_ADMIN}{name}/"
    yield "rejections: reason", f"{_ADMIN}rejection/?reason__exact=malformed"
    yield "rejections: search", f"{_ADMIN}rejection/?q=web-30"
    yield "rejection", f"{_ADMIN}rejection/500/change/"
    yield "overview", f"{_LIST}overview/"
    yield "plan a replay: empty", f"{_ADMIN}replay/plan/"
    plans: dict[str, dict[str, Any]] = {
        "dead": {"states": "dead"},
        "a project, dead": {"project": "web-30", "states": "dead"},
        "failure group": {"failure_group": group},
        "ten of a project": {"project": "web-30", "limit": 10},
        "everything": {"limit": 10, "receivers": "failed"},
    }
    for name, query in plans.items():
        yield f"plan a replay: {name}", f"{_ADMIN}replay/plan/?{urlencode(query)}"
    yield "replay", f"{_ADMIN}replay/3/change/"
    yield "replay: progress", f"{_ADMIN}replay/3/progress/"


def _details(middle: Delivery, dead: Delivery, group: str) -> dict[str, str]:
    filters = {
        "from the list": (middle, ""),
        "from state dead": (dead, "state__exact=dead"),
        "from an event": (middle, "event=source:finished"),
        "from a project": (middle, f"project={middle.project}"),
        "from a search": (middle, f"q={middle.commit_hash[:7]}"),
        "from a search for main": (middle, "q=main"),
        "from a failure group": (dead, f"failure_group={group}"),
        "from a replay": (middle, "replay=3"),
    }
    return {
        f"delivery: {name}": f"{_LIST}{one.pk}/change/?{urlencode({'_changelist_filters': query})}"
        for name, (one, query) in filters.items()
    } | {"delivery: dry run asked": f"{_LIST}{middle.pk}/dry-run/"}


def _api(now: Any, middle: Delivery, group: str) -> Iterator[tuple[str, str]]:
    def api(name: str, place: str, **query: Any) -> tuple[str, str]:
        return f"api {place}: {name}", f"{_API}{place}/?{urlencode(query)}"

    deep = urlsafe_b64encode(f"after {middle.received_at.isoformat()} {middle.pk}".encode())
    back = urlsafe_b64encode(f"before {middle.received_at.isoformat()} {middle.pk}".encode())
    run = ReceiverRun.objects.filter(delivery=middle).order_by("pk").first()
    key = run.pk if run else 1
    yield api("first page", "deliveries")
    yield api("500 at once", "deliveries", page_size=500)
    yield api("a page in the middle", "deliveries", cursor=deep.decode())
    yield api("backwards from the middle", "deliveries", cursor=back.decode())
    for state in ("received", "dead", "succeeded"):
        yield api(f"state {state}", "deliveries", state=state)
    yield api("event bundle:*", "deliveries", event="bundle:*")
    yield api("an event that never came", "deliveries", event="lab:none")
    yield api("a rare event", "deliveries", event="lab:snapshot-completed")
    yield api("other events", "deliveries", other_events="true")
    yield api("project", "deliveries", project="web-30")
    yield api("hook", "deliveries", hook=middle.hook_id)
    yield api("received from", "deliveries", received_from=(now - timedelta(days=1)).isoformat())
    before = (now - timedelta(days=60)).isoformat()
    yield api("received before", "deliveries", received_before=before)
    yield api("failure group", "deliveries", failure_group=group)
    yield api("replay", "deliveries", replay=3)
    yield api("search a commit", "deliveries", search=middle.commit_hash[:7])
    yield api("search nothing", "deliveries", search="nonesuch")
    yield api("project and dead, in the middle", "deliveries", project="web-30", state="dead")
    yield "api deliveries: detail", f"{_API}deliveries/{middle.delivery_id}/"
    yield "api deliveries: body", f"{_API}deliveries/{middle.delivery_id}/body/"
    yield api("first page", "runs")
    yield api("a page in the middle", "runs", cursor=_runs_behind(key))
    yield api("of a delivery", "runs", delivery=middle.delivery_id)
    receiver = "example_project.board.receivers.announce_score"
    yield api("of a receiver", "runs", receiver=receiver)
    yield api("of a receiver that never ran", "runs", receiver="none.such")
    yield api("failed", "runs", outcome="failed")
    yield api("lost", "runs", outcome="lost")
    yield api("retry", "runs", trigger="retry")
    yield api("replay", "runs", trigger="replay")
    yield api("failure group", "runs", failure_group=group)
    yield api("of a replay", "runs", replay=3)
    yield api("of a replay that ran nothing", "runs", replay=10**6)
    yield "api runs: detail", f"{_API}runs/{key}/"
    yield api("first page", "rejections")
    yield api("project", "rejections", project="web-30")
    yield api("first page", "replays")
    yield "api replays: detail", f"{_API}replays/3/"
    yield api("", "stats")


def _runs_behind(key: int) -> str:
    return urlsafe_b64encode(f"after {key}".encode()).decode()


def functions() -> dict[str, Callable[[], Any]]:
    """Return what is no page but is asked again and again."""
    long_ago = timedelta(days=45)
    now = timezone.now()
    return {
        "stats()": stats,
        "perfsee_tail: the latest": lambda: Follower(Selection()).latest(10),
        "perfsee_tail --state dead": lambda: Follower(Selection(states=("dead",))).latest(10),
        "perfsee_tail --event": lambda: Follower(Selection(event="source:*")).latest(10),
        "perfsee_tail: a look": _a_look,
        "perfsee_doctor": _doctor,
        "selection of a project: count": Selection(project="web-30").deliveries().count,
        "selection of dead: count": Selection(states=("dead",)).deliveries().count,
        "replay: a batch of a project": lambda: Selection(project="web-30").after(0, 10**9, 100),
        "replay: a batch of dead": lambda: Selection(states=("dead",)).after(0, 10**9, 100),
        "replay: plan of the latest hour": lambda: replay.plan(
            Selection(received_from=now - timedelta(hours=1))
        ),
        "sweep: what is overdue": lambda: list(
            Delivery.objects.overdue(now, timedelta(minutes=5))
            .order_by("received_at", "pk")
            .values_list("pk", "state")[:100]
        ),
        "prune: first batch of bodies": lambda: list(
            Delivery.objects.settled()
            .filter(received_at__lt=now - long_ago, body_pruned_at=None)
            .order_by("received_at", "pk")
            .values_list("pk", "received_at")[: pruning.BATCH_SIZE]
        ),
    }


def _a_look() -> list[Any]:
    follower = Follower(Selection())
    follower.latest(0)
    return list(follower.look())


def _doctor() -> None:
    with suppress(CommandError):  # it has found something, which is not what is measured
        call_command("perfsee_doctor", wait=0.1, stdout=io.StringIO(), stderr=io.StringIO())
