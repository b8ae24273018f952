"""Stops the database hard while deliveries come in, and starts it again.

Two outages: one that is shorter than `DATABASE_WAIT`, in which requests wait, and a longer one, in
which they go to the spool. Every delivery has to be answered 204, and to be stored in the end with
the exact bytes that were sent, its receivers run.
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import NotSent
from tests.mariadb import PrivateMariaDB
from tests.postgresql import PrivatePostgreSQL
from tests.sites import GUNICORN_THREADS, Site, migrate, running_site

from .table import Row

SENDERS = 4
SHORT_OUTAGE_SECONDS = 1.0
LONG_OUTAGE_SECONDS = 7.0
CALM_SECONDS = 1.5
UNANSWERED = 0
SETTLE_SECONDS = 60
UNSETTLED = "Delivery.objects.filter(settled_at=None).count()"
BODY = sample_body("bundle:finished")

Server = PrivatePostgreSQL | PrivateMariaDB
NAMES = {PrivatePostgreSQL: "PostgreSQL", PrivateMariaDB: "MariaDB"}


@dataclass(kw_only=True)
class Load:
    """What is sent all the time, and how it was answered."""

    site: Site
    sent: dict[str, bytes] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Send deliveries from several threads while the context lasts."""
        ended = threading.Event()
        with ThreadPoolExecutor(SENDERS) as pool:
            senders = [pool.submit(self._send_until, ended) for _ in range(SENDERS)]
            try:
                yield
            finally:
                ended.set()
        for sender in senders:
            sender.result()

    def _send_until(self, ended: threading.Event) -> None:
        while not ended.is_set():
            delivery_id = str(uuid.uuid4())
            body = BODY.replace(b"feat/webhook", delivery_id.encode())
            self.sent[delivery_id] = body
            try:
                status = self.site.send(body, delivery_id).status
            except NotSent:
                status = UNANSWERED
            self.statuses[status] += 1
            if status == 204:
                self.acknowledged.add(delivery_id)
            ended.wait(0.02)


def run(kind: type[Server] = PrivatePostgreSQL) -> list[Row]:
    """Run both outages, and return a row for each of the two things that may not happen."""
    server = kind.start(is_durable=True)
    try:
        migrate(server.url)
        with tempfile.TemporaryDirectory() as folder:
            spool = Path(folder) / "spool"
            environment = {
                "PERFSEE_SPOOL_DIR": str(spool),
                # Its leases last a second: what was being processed is soon taken up again.
                "PERFSEE_LEASE_SECONDS": "1",
            }
            with running_site(GUNICORN_THREADS, server.url, environment) as site:
                return _outages(server, Load(site=site), spool)
    finally:
        server.stop()


def _outages(server: Server, load: Load, spool: Path) -> list[Row]:
    with load.going_on():
        time.sleep(CALM_SECONDS)
        for seconds in (SHORT_OUTAGE_SECONDS, LONG_OUTAGE_SECONDS):
            server.kill()
            time.sleep(seconds)
            server.start_again()
            time.sleep(CALM_SECONDS)
    spooled = len(list(spool.glob("*.delivery")))
    deadline = time.monotonic() + SETTLE_SECONDS
    while load.site.query(UNSETTLED) != "0" and time.monotonic() < deadline:
        load.site.manage("perfsee_sweep")
    rows = "Delivery.objects.values_list('delivery_id', 'body', 'state')"
    stored = {
        delivery_id: (body, state)
        for delivery_id, body, state in eval(  # noqa: S307  # what this site printed
            load.site.query(f"[(key, bytes(body), state) for key, body, state in {rows}]")
        )
    }
    lost = [one for one in load.acknowledged if stored.get(one, (b"",))[0] != load.sent[one]]
    undone = [one for one, (_body, state) in stored.items() if state != "succeeded"]
    left = len(list(spool.glob("*")))
    refused = {status: number for status, number in load.statuses.items() if status != 204}
    return [
        Row(
            scenario=f"{NAMES[type(server)]} is killed and started again under load",
            tried=len(load.sent),
            lost=len(lost),
            wrong=sum(refused.values()) + len(undone) + left,
            note=f"{spooled} by way of the disk"
            + (f"; answered otherwise than 204: {refused}" if refused else "")
            + (f"; not succeeded: {len(undone)}" if undone else "")
            + (f"; left in the spool: {left}" if left else ""),
        )
    ]


def main() -> None:
    """Run it by itself."""
    for row in run():
        print(row)


if __name__ == "__main__":
    main()
