"""Whether memory stays flat: the most that a process held after a tenth of its work, and after all.

Linux only.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from .databases import created
from .export_memory import descendants, peak_of
from .load import fire, new, write_requests
from .processing import connect_only
from .rounds import create_tables, ours
from .servers import durable_postgresql, serving
from .site import answer_of
from .table import Figure, Report, figure

_CONCURRENCY: Final = 8
_MOST_SECONDS: Final = 600.0
_MOST: Final = 1.1
_TENTH: Final = 10
_BATCH: Final = 100


def run(*, full: bool) -> Report:
    """Receive, and then process, replay and export what is there, on one database."""
    number = 100_000 if full else 10_000
    with durable_postgresql() as server:
        url = created(server, "memory")
        figures = [_received(url, number)]
        for what in ("processed", "replayed", "exported"):
            tenth, whole, count = answer_of(url, f"benchmarks.memory:{what}", number=number)
            figures.append(_figure(f"{count:,} {what}", tenth, whole))
    return Report(figures=figures)


def _figure(what: str, tenth: float, whole: float) -> Figure:
    return figure(
        f"memory after {what} ÷ after a tenth",
        [whole],
        [tenth],
        at_most=_MOST,
        note=f"{whole:.1f} MiB and {tenth:.1f} MiB",
    )


def _received(url: str, number: int) -> Figure:
    create_tables(url)
    receiver = ours()
    peaks = []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(receiver.server, receiver.application, url, receiver.environment) as origin,
    ):
        sent = 0
        for count in (number // _TENTH, number - number // _TENTH):
            path = Path(folder) / "requests"
            write_requests(path, "/perfsee/webhook/", new(count))
            load = fire(origin, path, concurrency=_CONCURRENCY, seconds=_MOST_SECONDS)
            sent += load.succeeded
            peaks.append(max(map(peak_of, descendants(os.getpid()))))
    return _figure(f"{sent:,} received", *peaks)


def processed(*, number: int) -> tuple[float, float, int]:
    """Process all that waits, as the sweep does, with one receiver."""
    from perfsee_webhooks.models import Delivery
    from perfsee_webhooks.sweep import sweep

    # Nobody was told of them by the receiver, which says the contrary.
    Delivery.objects.all().leave_to_the_sweep()
    return _peaks(partial(sweep, batch_size=_BATCH), number)


def replayed(*, number: int) -> tuple[float, float, int]:
    """Replay all that there is."""
    from django.utils import timezone

    from perfsee_webhooks import replay as replaying
    from perfsee_webhooks.models import Replay

    def carry_out() -> None:
        order = replaying.Order(receivers=Replay.Receivers.ALL)
        started = replaying.start(replaying.Selection(), order, requested_by="someone")
        replaying.carry_out(started.pk, until=timezone.now() + timedelta(hours=1))

    return _peaks(carry_out, number)


def _peaks(work: Callable[[], Any], number: int) -> tuple[float, float, int]:
    """Do the work, and return what was held after a tenth, what after all, and how many it was."""
    count, tenth = 0, 0.0

    def receiver(**_given: Any) -> None:
        nonlocal count, tenth
        count += 1
        if count == number // _TENTH:
            tenth = _peak()

    connect_only(receiver)
    work()
    return tenth, _peak(), count


def exported(*, number: int) -> tuple[float, float, int]:
    """Export all that there is, with the bodies."""
    from perfsee_webhooks.export import Export, Format
    from perfsee_webhooks.models import Delivery

    count, tenth = 0, 0.0
    export = Export(deliveries=Delivery.objects.all(), format=Format.NDJSON, with_body=True)
    for chunk in export.chunks():
        count += chunk.count("\n")
        if not tenth and count >= number // _TENTH:
            tenth = _peak()
    return tenth, _peak(), count


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
