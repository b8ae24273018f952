"""The site apart from its address: settings, database, clock, engine, sweep, and the last day."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core import checks
from django.db import Error as DatabaseFailure
from django.db import connections, router
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.timesince import timesince

from ..conf import INLINE, TASKS, webhook_settings
from ..log import ids
from ..models import Delivery, Heartbeat, Rejection
from ..signals import connected_receivers
from ..stats import stats
from ..tasks import delivery_task
from .result import Result, bad, doubtful, good

logger = logging.getLogger(__name__)

CLOCKS_MAY_DIFFER_BY: Final = timedelta(seconds=5)
DAY: Final = timedelta(days=1)
MINUTE: Final = 60

# There is no delivery of this primary key: to process it does nothing.
NO_DELIVERY: Final = 0
_POLL_SECONDS: Final = 0.1


def examine_settings() -> Iterator[Result]:
    """Yield what the app's system checks say, each with its id."""
    # Those of others may raise: Django's own does for a task backend that there is not.
    database = router.db_for_write(Delivery)
    ours = checks.run_checks(tags=["perfsee_webhooks"], databases=[database])
    found = [message for message in ours if not message.is_silenced()]
    for message in found:
        say = bad if message.level >= checks.ERROR else doubtful
        yield say("settings", f"{message.id}: {message.msg}", message.hint or "")
    if not found:
        yield good("settings", "The system checks find nothing wrong.")


def examine_database() -> Result:
    """Say whether the tables can be read."""
    alias = router.db_for_write(Delivery)
    try:
        Delivery.objects.on_primary().exists()
        Heartbeat.objects.using(alias).exists()
    except DatabaseFailure as error:
        return bad(
            "database",
            f"The tables in DATABASES[{alias!r}] cannot be read: {type(error).__name__}.",
            "See that the database runs and can be reached, then run: manage.py migrate.",
        )
    return good("database", f"{connections[alias].display_name} answers, and has its tables.")


def examine_clock() -> Result:
    """Compare the clock of this process with that of the database's server."""
    connection = connections[router.db_for_write(Delivery)]
    if connection.vendor == "sqlite":
        return good("clock", "SQLite has the clock of this machine.")
    is_mysql = connection.vendor == "mysql"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {'UTC_TIMESTAMP(6)' if is_mysql else 'CURRENT_TIMESTAMP'}")
        (told,) = cursor.fetchone()
    if is_mysql:
        told = told.replace(tzinfo=UTC)  # it would tell the time of its server's zone, unnamed
    # Without USE_TZ PostgreSQL tells the time of the site's zone.
    difference = abs(datetime.now(tz=told.tzinfo) - told)
    apart = f"{difference.total_seconds():.1f} s apart"
    if difference > CLOCKS_MAY_DIFFER_BY:
        return doubtful(
            "clock",
            f"The clocks of this machine and of the database are {apart}.",
            "Let both keep their time by NTP: leases and next attempts are told by these clocks.",
        )
    return good("clock", f"The clocks of this machine and of the database are {apart}.")


def examine_engine(wait: timedelta) -> Result:
    """Say whether what `PROCESSING` names takes work, and whether a worker does it within `wait`.

    A task engine is given a task that does nothing.
    """
    processing = webhook_settings.processing
    if processing == INLINE:
        return good("engine", "Receivers run in the processes that serve the site.")
    if processing == TASKS:
        return _examine_tasks(wait)
    try:
        import_string(processing)
    except ImportError as error:
        return bad("engine", str(error), "Set PROCESSING to the path of a function of yours.")
    return good("engine", f"{processing} can be imported; whether it works, only it can tell.")


def _examine_tasks(wait: timedelta) -> Result:
    try:
        task = delivery_task()
        backend = task.get_backend()
        result = task.enqueue(NO_DELIVERY)
    except Exception as error:  # noqa: BLE001  # each engine raises its own
        return bad(
            "engine",
            f"The task engine does not take a task: {type(error).__name__}: {error}",
            "See that it runs and can be reached. Until then deliveries wait for the sweep.",
        )
    name = type(backend).__name__
    untold = good("engine", f"{name} has taken a task; whether a worker ran it, it cannot tell.")
    if not backend.supports_get_result:
        return untold
    try:
        seconds, failure = _wait_for(backend, result.id, wait)
    except Exception as error:  # one keeps no results, or none yet: as above
        logger.info(
            "%s tells nothing of a task.", name, exc_info=error, extra=ids(task_backend=name)
        )
        return untold
    if seconds is None:
        return bad(
            "engine",
            f"{name} has taken a task, but no worker has run it in {wait.total_seconds():g} s.",
            "Start a worker, or more of them: deliveries wait until one runs them.",
        )
    if failure:
        return bad(
            "engine",
            f"{name} has taken a task, and a worker failed to run it: {failure}.",
            "See the worker's log: it may run other code, or other settings, than this process.",
        )
    return good("engine", f"{name} has taken a task, and a worker ran it within {seconds:.1f} s.")


def _wait_for(backend: Any, task_id: Any, wait: timedelta) -> tuple[float | None, str]:
    """Return after how many seconds a task was finished, None if it was not, and how it failed."""
    started = time.monotonic()
    while not (result := backend.get_result(task_id)).is_finished:
        if time.monotonic() - started > wait.total_seconds():
            return None, ""
        time.sleep(_POLL_SECONDS)
    raised = ", ".join(error.exception_class_path for error in result.errors)
    failed = str(result.status).upper().endswith("FAILED")
    return time.monotonic() - started, (raised or "no reason given") if failed else ""


def examine_receivers() -> Result:
    """Name the receivers that are connected: one that is not imported is not."""
    connected = connected_receivers(sender=Delivery)
    if not connected:
        return doubtful(
            "receivers",
            "No receiver is connected: deliveries are stored, and nothing is done with them.",
            "Import the module of your receivers in the ready() of its app's AppConfig.",
        )
    named = ", ".join(f"{one.label} ({one.signal.pattern})" for one in connected)
    return good("receivers", f"Connected: {named}.")


def examine_sweep() -> Result:
    """Say whether the sweep runs, and whether something waits for it."""
    found = stats()
    said = "The sweep has never run"
    if found.last_swept_at is not None:
        seconds = (found.measured_at - found.last_swept_at).total_seconds()
        ago = timesince(found.last_swept_at, found.measured_at) if seconds > MINUTE else None
        said = f"The sweep last ran {ago or f'{max(seconds, 0):.0f} seconds'} ago"
    waiting = found.overdue + found.failed
    advice = "Keep it running: manage.py perfsee_sweep --watch 10, or every minute from cron."
    if found.is_sweep_missed:
        wait = "delivery waits" if waiting == 1 else "deliveries wait"
        return bad("sweep", f"{said}, and {waiting} {wait} for it.", advice)
    is_silent = (
        found.last_swept_at is None
        or found.measured_at - found.last_swept_at > webhook_settings.lease
    )
    if is_silent:
        return doubtful("sweep", f"{said}.", advice)
    return good("sweep", f"{said}{', and is at work on what is overdue' if waiting else ''}.")


def look_back() -> Iterator[Result]:
    """Yield what there is to look at of the last day."""
    since = timezone.now() - DAY
    dead = Delivery.objects.on_primary().filter(state=Delivery.State.DEAD, received_at__gte=since)
    refused = Rejection.objects.using(dead.db).filter(received_at__gte=since, accepted_at=None)
    if count := dead.count():
        message = f"{count} of the deliveries of the last day {'is' if count == 1 else 'are'} dead."
        yield doubtful(
            "last day", message, "Mend their receivers, and replay them: perfsee_replay."
        )
    if count := refused.count():
        was = "request of the last day was" if count == 1 else "requests of the last day were"
        advice = "The admin says of each what was wrong: accept what is Perfsee's."
        yield doubtful("last day", f"{count} {was} refused.", advice)
