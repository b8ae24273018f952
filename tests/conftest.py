"""What the whole suite shares: real bodies, signed posts, and receivers that are connected."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Model
from django.test import Client

from perfsee_webhooks import signals
from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.models import Delivery, rejection
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

from .mariadb import copied_database
from .sites import SECRET, migrate

PATH = "/perfsee/webhook/"

Connect = Callable[..., Mock]


def documented_receiver(sender, delivery, event, **kwargs):
    """The signature that the documentation gives a receiver."""


@pytest.fixture
def connect(no_receivers: None) -> Connect:
    """Connects a receiver of the documented signature, and no other one is connected."""

    def connect_one(signal=signals.delivery_received, *, name="receiver", **behaviour: Any) -> Mock:
        receiver: Mock = create_autospec(documented_receiver, **behaviour)
        receiver.__module__, receiver.__qualname__ = "tests", name
        signal.connect(receiver, weak=False)
        return receiver

    return connect_one


@pytest.fixture
def no_receivers() -> Iterator[None]:
    """Takes away every receiver, and those that a test connects afterwards."""
    known = dict(signals._signals)
    receivers = {signal: list(signal.receivers) for signal in known.values()}
    for signal in known.values():
        _set_receivers(signal, [])
    yield
    signals._signals.clear()
    signals._signals.update(known)
    for signal, connected in receivers.items():
        _set_receivers(signal, connected)


def _set_receivers(signal: signals.EventSignal[Any], receivers: list[Any]) -> None:
    signal.receivers = receivers
    signal.sender_receivers_cache.clear()


@pytest.fixture(autouse=True)
def _strangers_are_few() -> None:
    """Each test may refuse as many requests as a process keeps at once."""
    rejection.strangers.reset()
    rejection.signed.reset()


@pytest.fixture
def body() -> bytes:
    """The body of a finished bundle, as Perfsee's server writes it."""
    return sample_body("bundle:finished")


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """Posts a body as Perfsee does; headers given as None are left out, others are replaced."""

    def post_body(body: bytes, *, secret: str | None = SECRET, path: str = PATH, **changes: Any):
        headers: dict[str, str | None] = {
            **perfsee_headers(body, secret, delivery_id=changes.pop("delivery_id", None)),
            **changes.pop("headers", {}),
        }
        return client.post(
            path,
            body,
            content_type="application/json",
            headers={name: value for name, value in headers.items() if value is not None},
        )

    return post_body


@pytest.fixture
def webhook_setting(settings: LazySettings) -> Callable[..., None]:
    """Changes keys of PERFSEE_WEBHOOKS for one test."""

    def change(**keys: Any) -> None:
        settings.PERFSEE_WEBHOOKS = {**settings.PERFSEE_WEBHOOKS, **keys}

    return change


@pytest.fixture
def delivery(db: None, body: bytes) -> Delivery:
    """A stored delivery of a finished bundle that waits."""
    headers = perfsee_headers(body, SECRET)
    primary_key = Delivery.objects.record(Envelope.read(body, headers, "SECRETS[0]"))
    assert primary_key is not None
    return Delivery.objects.get(pk=primary_key)


@pytest.fixture(scope="session")
def migrated_database(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[str]:
    """A migrated database of the kind that the run is on, to be copied."""
    with new_database(tmp_path_factory.mktemp("migrated")) as url:
        migrate(url)
        yield url


@pytest.fixture
def site_database_url(migrated_database: str, tmp_path: Path, db: None) -> Iterator[str]:
    """A migrated, empty database for a site in a process of its own."""
    with new_database(tmp_path, template=migrated_database) as url:
        yield url


@contextmanager
def new_database(folder: Path, template: str | None = None) -> Iterator[str]:
    if connection.vendor == "sqlite":
        file = folder / "site.sqlite3"
        if template:
            shutil.copy(template.removeprefix("sqlite:///"), file)
        yield f"sqlite:///{file}"
        return
    if connection.vendor == "mysql":
        with copied_database(os.environ["DATABASE_URL"], template) as url:
            yield url
        return
    import psycopg
    from psycopg.sql import SQL, Identifier

    server, name = os.environ["DATABASE_URL"], Identifier(f"site_{secrets.token_hex(8)}")
    source = Identifier(urlsplit(template).path.strip("/") if template else "template0")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(name, source))
        yield urlsplit(server)._replace(path=f"/{name._obj[0]}").geturl()
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session", autouse=True)
def _statements_are_told_alike() -> Iterator[None]:
    """Tells the statements of MySQL with the quotes of the other databases, also failed ones."""
    operations: Any = type(connection.ops)
    as_executed = operations.last_executed_query

    def alike(self: Any, cursor: Any, sql: str, params: Any) -> str:
        told = as_executed(self, cursor, sql, params) if cursor._executed else sql
        return str(told).replace("`", '"')

    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "mysql":
            patch.setattr(operations, "last_executed_query", alike)
        yield


@pytest.fixture
def take_away(db: None) -> Iterator[Callable[[type[Model]], None]]:
    """Has the database find no table of a model for the rest of a test.

    The table stays: what MySQL does to one is not undone by a rollback.
    """
    with ExitStack() as stack:

        def ask_for_another(model: type[Model]) -> None:
            def ask(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
                return execute(sql.replace(model._meta.db_table, "away"), *rest)

            stack.enter_context(connection.execute_wrapper(ask))

        yield ask_for_another


@pytest.fixture
def nothing_runs(webhook_setting: Callable[..., None]) -> None:
    """Deliveries are handed over to nobody, and stay as they are."""
    webhook_setting(PROCESSING="tests.replays.stay_put")


@pytest.fixture
def person(django_user_model: Any, client: Client) -> Callable[..., Client]:
    """Logs a member of the staff in, with rights by codename; "superuser" has all of them."""

    def log_in(*codenames: str) -> Client:
        user = django_user_model.objects.create_user(
            "someone", is_staff=True, is_superuser="superuser" in codenames
        )
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return log_in
