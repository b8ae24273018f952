"""Contenders that are measured in turn, round by round, and the count of what they stored."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from .load import KINDS, Load, fire, require_wrk, write_requests
from .servers import manage, serving
from .table import Figure, figure

STRIPE_ENDPOINT: Final = "00000000-0000-4000-8000-000000000001"
# The app's receiver in front of the site's application.
IN_FRONT: Final = "benchmarks.peers.fronted:wsgi"
IN_FRONT_ASGI: Final = "benchmarks.peers.fronted:asgi"
ROUNDS: Final = 3
SECONDS: Final = 2.0
_PATHS: Final = {"of_stripe": f"/stripe/webhook/{STRIPE_ENDPOINT}/"}
_REQUESTS_A_SECOND: Final = 6_000
_WARM_UP_SECONDS: Final = 1.0
_ENDPOINT: Final = """
from djstripe.models import APIKey, Account, WebhookEndpoint
from benchmarks.load import STRIPE_API_KEY, STRIPE_SECRET
account = Account.objects.create(id="acct_benchmarks", livemode=False)
APIKey.objects.create(
    secret=STRIPE_API_KEY, type="secret", livemode=False, djstripe_owner_account=account
)
WebhookEndpoint.objects.create(
    id="we_benchmarks", djstripe_uuid="{uuid}", secret=STRIPE_SECRET, enabled_events=["*"],
    status="enabled", url="https://example.com/", livemode=False, djstripe_tolerance=32767,
    djstripe_owner_account=account,
)
"""


class NothingMeasured(RuntimeError):
    """No round of a contender is valid."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A view on a server, what is sent to it, and where it stores it."""

    name: str
    server: str = "granian"
    application: str = "benchmarks.peers.wsgi:application"
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    kind: str = "new"
    table: str = "peers_row"
    emptied: tuple[str, ...] = ()
    """Tables beside it that are emptied between rounds."""
    database_url: str | None = None
    """Where it is another one than that of the run."""
    kept: int = 0
    """The primary key up to which the rows of its table stay."""


def ours(name: str = "receive", **changes: Any) -> Contender:
    """Return the app's own receiver; `changes` are fields of the contender."""
    environment = {"PEER": "perfsee", **changes.pop("environment", {})}
    return Contender(
        name=name, environment=environment, table="perfsee_webhooks_delivery", **changes
    )


def peer(name: str, view: str, **changes: Any) -> Contender:
    """Return a peer that is a Django view."""
    return Contender(name=name, environment={"PEER": view}, **changes)


def of_stripe(name: str, **environment: str) -> Contender:
    """Return dj-stripe's own view, which gets events as Stripe signs them."""
    return Contender(
        name=name,
        environment={"PEER": "dj-stripe", **environment},
        kind="of_stripe",
        table="djstripe_webhookeventtrigger",
        emptied=("djstripe_event",),
    )


Loads = dict[str, list[Load]]


@dataclass(kw_only=True)
class Bench:
    """A database with the tables of all, and files of requests."""

    database_url: str
    folder: Path
    voided: list[str] = field(default_factory=list)

    def measure(
        self,
        contenders: Sequence[Contender],
        *,
        concurrency: int,
        rounds: int = ROUNDS,
        seconds: float = SECONDS,
    ) -> Loads:
        """Measure each in each round, the order turned by one from round to round.

        A round in which a contender did not answer each request 2xx, or stored another number of
        rows, is void for all: it is left out, and told of.

        Raises:
            NothingMeasured: no round is left.
        """
        loads: Loads = {each.name: [] for each in contenders}
        with ExitStack() as stack:
            origins = {
                each.name: stack.enter_context(
                    serving(
                        each.server,
                        each.application,
                        self.url_of(each),
                        each.environment,
                    )
                )
                for each in contenders
            }
            for each in contenders:
                self.fire(each, origins[each.name], concurrency, _WARM_UP_SECONDS)
            for number in range(rounds):
                first = number % len(contenders)
                turns = [*contenders[first:], *contenders[:first]]
                measured = {
                    each.name: self.valid(each, origins[each.name], concurrency, seconds)
                    for each in turns
                }
                if all(measured.values()):
                    for name, load in measured.items():
                        assert load is not None  # noqa: S101  # said to the type checker
                        loads[name].append(load)
        if not all(loads.values()):
            raise NothingMeasured("; ".join(self.voided))
        return loads

    def valid(self, each: Contender, origin: str, concurrency: int, seconds: float) -> Load | None:
        """Measure one round; None, which is told, if what is stored is not what was answered."""
        load = self.fire(each, origin, concurrency, seconds)
        stored = self.stored(each)
        if stored == load.succeeded == load.sent:
            return load
        message = (
            f"{each.name}: {load.succeeded} of {load.sent} were answered 2xx, {load.lost} lost, "
            f"and {stored} are stored: this round is void."
        )
        self.voided.append(message)
        print(message, flush=True)
        return None

    def fire(self, each: Contender, origin: str, concurrency: int, seconds: float) -> Load:
        """Send to a contender whose tables are emptied before."""
        self.empty(each)
        path = self.requests(each.kind)
        return fire(origin, path, concurrency=concurrency, seconds=seconds)

    def requests(self, kind: str) -> Path:
        """Return the file of the requests of a kind, more of them than a round can use."""
        path = self.folder / kind
        if not path.exists():
            count = int(_REQUESTS_A_SECOND * SECONDS)
            write_requests(path, _PATHS.get(kind, "/perfsee/webhook/"), KINDS[kind](count))
        return path

    def url_of(self, each: Contender) -> str:
        """Return the address of the database that a contender stores into."""
        return each.database_url or self.database_url

    def stored(self, each: Contender) -> int:
        """Count what a contender has stored."""
        count = f"SELECT COUNT(*) FROM {each.table} WHERE id > {each.kept}"  # noqa: S608  # names of this package
        return int(execute(self.url_of(each), count))

    def empty(self, each: Contender) -> None:
        """Remove what a contender has stored, and have the database write out what it holds."""
        url = self.url_of(each)
        tables = (each.table, *each.emptied)
        if each.kept:
            execute(url, f"DELETE FROM {each.table} WHERE id > {each.kept}")  # noqa: S608  # likewise
            execute(url, f"VACUUM {each.table}")
        elif is_sqlite(url):
            for table in tables:
                execute(url, f"DELETE FROM {table}")  # noqa: S608  # likewise
        else:
            execute(url, f"TRUNCATE {', '.join(tables)} CASCADE")
        if not is_sqlite(url):
            execute(url, "CHECKPOINT")


@contextmanager
def bench(*database_urls: str) -> Iterator[Bench]:
    """Create the tables of each database, and yield what measures, on the first of them."""
    require_wrk()
    for database_url in database_urls:
        create_tables(database_url)
    with tempfile.TemporaryDirectory() as folder:
        yield Bench(database_url=database_urls[0], folder=Path(folder))


def create_tables(database_url: str) -> None:
    """Create the tables of the peers' site, and the endpoint that dj-stripe wants."""
    manage(database_url, "migrate", "--run-syncdb", "-v0", "--skip-checks")
    manage(database_url, "shell", "-v0", "-c", _ENDPOINT.format(uuid=STRIPE_ENDPOINT))


def is_sqlite(database_url: str) -> bool:
    """Whether an address is that of a SQLite file."""
    return urlsplit(database_url).scheme == "sqlite"


def execute(database_url: str, statement: str) -> Any:
    """Execute a statement; return the first column of the first row if there is any."""
    if is_sqlite(database_url):
        connection = sqlite3.connect(urlsplit(database_url).path, timeout=30, isolation_level=None)
        try:
            row = connection.execute(statement).fetchone()
        finally:
            connection.close()
    else:
        with psycopg.connect(database_url, autocommit=True) as server:
            cursor = server.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def rates(loads: Sequence[Load]) -> list[float]:
    """Return how many requests a second each round answered."""
    return [load.per_second for load in loads]


def per_second(loads: Sequence[Load]) -> str:
    """Return the median of the rates, to be read."""
    return f"{median(rates(loads)):,.0f}/s"


def compared(
    loads: Loads, mine: Contender, other: Contender, *, at_least: float | None = None, how: str = ""
) -> Figure:
    """Return how one contender did beside another one."""
    first, second = loads[mine.name], loads[other.name]
    return figure(
        f"{mine.name} ÷ {other.name}{how}",
        rates(first),
        rates(second),
        at_least=at_least,
        note=f"{per_second(first)} and {per_second(second)}",
    )
