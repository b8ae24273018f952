"""Secrets that are easy to find again, and a search for them in all that the app ever writes.

The site of these tests has secrets for any hook, one of a single hook, and a password of its
database, and each request has headers that are nobody's business. Then all happens that can, and
what is stored, logged, mailed, put on the disk, printed and answered is searched for them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import pickle
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import django
import pytest
from django.apps import apps
from django.conf import settings as site_settings
from django.core import mail
from django.core.checks import run_checks
from django.core.management import CommandError, call_command, get_commands
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django.utils.log import AdminEmailHandler
from django.views.decorators.debug import sensitive_variables
from prometheus_client import CollectorRegistry, generate_latest

from perfsee_webhooks import conf, replay, signals, signatures, stats
from perfsee_webhooks.admin.timeline import Timeline
from perfsee_webhooks.api.serializers import DeliveryDetailSerializer
from perfsee_webhooks.diagnosis import trials
from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.exceptions import RetryLater
from perfsee_webhooks.models import Delivery, DeliveryQuerySet, ReceiverRun, Rejection, Replay
from perfsee_webhooks.prometheus import PerfseeCollector
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.signatures import sign

from .sites import ROOT, running_environment
from .test_permissions import LINES, RECEIVER, ask

ANY_HOOK = "canary-0d1f7a52c94b4e0d9f3e0c6a1f2f8a11"
BEFORE = "canary-5c2a4be831f0e4c578a435d9a2a1b7e4"
OF_A_HOOK = "canary-f00c9a1e7b1d4a55b6a093c1b1f1d6c3"
OF_DATABASE = "canary-b7e42c2a4be831f0e4c578a435d9a2a1"
IN_HEADER = "canary-9a2a1b7e42c2a4be831f0e4c578a435d"
SECRETS = (ANY_HOOK, BEFORE, OF_A_HOOK, OF_DATABASE, IN_HEADER)

HOOK = "7"
MAX_BODY_BYTES = 20_000
SIGNATURE = "X-Perfsee-Signature-256"
HEADERS = {
    "Authorization": f"Bearer {IN_HEADER}",
    "Cookie": f"sessionid={IN_HEADER}",
    "Proxy-Authorization": f"Basic {IN_HEADER}",
    "X-Api-Key": IN_HEADER,
    "X-CSRFToken": IN_HEADER,
}
WITH_VARIABLES = ("frame ", "mail ", "error page ")


def forms_of(secret: bytes) -> Iterator[bytes]:
    """Yield what a secret looks like, written as it is and in ways that keep it."""
    yield secret
    yield secret[:20]
    yield secret[-20:]
    yield secret.hex().encode()
    yield hashlib.sha256(secret).hexdigest().encode()
    for before in range(3):
        # In base64, without the letters that depend on what stands next to it.
        yield base64.b64encode(b"\0" * before + secret)[before and 4 : -4]


class Written:
    """All that was written, by the place where it was."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, bytes]] = []
        self.signatures: set[str] = set()

    def add(self, place: str, what: Any) -> None:
        data = what if isinstance(what, bytes) else str(what).encode(errors="backslashreplace")
        self.pieces.append((place, data))

    @property
    def places(self) -> set[str]:
        return {place for place, _ in self.pieces}

    def leaks(self) -> set[tuple[str, str]]:
        """Return what was found where.

        The variables of functions have the headers of the request that they are about, with its
        signature: so do the mails that show them.
        """
        forms = {form: secret for secret in SECRETS for form in forms_of(secret.encode())}
        for signature in self.signatures:
            digest = signature.removeprefix("sha256=")
            forms |= dict.fromkeys((digest.encode(), digest.upper().encode()), "a signature")
            forms |= dict.fromkeys(forms_of(bytes.fromhex(digest)), "a signature")
        pattern = re.compile(b"|".join(map(re.escape, forms)))
        return {
            (place, forms[found])
            for place, piece in self.pieces
            for found in set(pattern.findall(piece))
            if not (forms[found] == "a signature" and place.startswith(WITH_VARIABLES))
        }


class Ears(logging.Handler):
    """Writes each record down as a formatter does, as JSON of all that it has, and its frames."""

    def __init__(self, written: Written) -> None:
        super().__init__(logging.DEBUG)
        self.written = written

    def emit(self, record: logging.LogRecord) -> None:
        place = f"log {record.name} {record.msg}"
        self.written.add(place, logging.Formatter().format(record))
        self.written.add(place, json.dumps(vars(record), default=repr))
        if record.exc_info and record.exc_info[2]:
            for frame, _line in traceback.walk_tb(record.exc_info[2]):
                if str(frame.f_globals.get("__name__")).startswith("perfsee_webhooks."):
                    # As services that watch for errors are sent it.
                    self.written.add(f"frame {frame.f_code.co_name}", repr(frame.f_locals))


class Interrupting(StringIO):
    """Interrupts a command that would go on for ever, once it has written."""

    def flush(self) -> None:
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)


class Site:
    """A site that things happen to, all of whose answers are kept."""

    def __init__(self, written: Written, body: bytes) -> None:
        self.written, self.body = written, body
        self.client = Client(raise_request_exception=False)

    def post(self, *, secret: str | None = ANY_HOOK, body: bytes = b"", **options: Any) -> int:
        """Send a delivery, and return the status of the answer."""
        body = body or self.body
        changes = options.pop("headers", {})
        headers = {**perfsee_headers(body, secret, **options), **HEADERS, **changes}
        if re.fullmatch("sha256=[0-9a-f]{64}", headers.get(SIGNATURE, "")):
            self.written.signatures.add(headers[SIGNATURE])
        path = "/perfsee/webhook/"
        answer = self.client.post(path, body, content_type="application/json", headers=headers)
        return self.keep("POST /perfsee/webhook/", answer)

    def keep(self, place: str, answer: Any) -> int:
        kind = "error page" if answer.status_code == 500 else "answer"
        content = b"".join(answer) if answer.streaming else answer.content
        self.written.add(f"{kind} of {place}", content)
        self.written.add(f"headers of {place}", f"{answer.headers} {answer.cookies}")
        return int(answer.status_code)

    def command(self, name: str, *arguments: str) -> None:
        """Run a command to its end, whatever that is."""
        stdout, stderr = Interrupting() if name == "perfsee_tail" else StringIO(), StringIO()
        try:
            call_command(name, *arguments, stdout=stdout, stderr=stderr)
        except CommandError:
            stderr.write(traceback.format_exc())
        self.written.add(f"output of {name}", stdout.getvalue() + stderr.getvalue())

    def deliver(self) -> None:
        """Have every kind of delivery come."""
        assert self.post(delivery_id="one") == 204
        assert self.post(delivery_id="one") == 204
        assert self.post(delivery_id="two", secret=BEFORE) == 204
        assert self.post(delivery_id="three", secret=OF_A_HOOK, hook_id=HOOK) == 204
        assert self.post(delivery_id="one", body=self.body + b" ") == 409
        assert self.post(body=b"x" * (MAX_BODY_BYTES + 1)) == 413
        assert self.post(delivery_id="no id!") == 400
        assert self.post(body=b"{}", secret=OF_A_HOOK, hook_id=HOOK) == 400
        for secret in (None, "another one, of enough characters", f"{ANY_HOOK}\n", OF_A_HOOK):
            assert self.post(secret=secret) == 400
        for signature in ("nonsense", sign(self.body, ANY_HOOK)[7:], sign(self.body, BEFORE) + "0"):
            assert self.post(headers={SIGNATURE: signature}) == 400

    def crawl(self, method: str) -> set[int]:
        """Ask for all that the URLs lead to, for each row, as somebody who may; return statuses."""
        keys: dict[str, list[Any]] = {"deliveries": _all(Delivery, "delivery_id")}
        keys |= {"delivery": _all(Delivery), "runs": _all(ReceiverRun)}
        keys |= dict.fromkeys(("rejection", "rejections"), _all(Rejection))
        keys |= dict.fromkeys(("replay", "replays"), _all(Replay))
        any_row = {noun: found[0] for noun, found in keys.items()}
        headers = {name: value for name, value in HEADERS.items() if name != "Cookie"}
        statuses = set()
        for operation in LINES:
            if operation.startswith(method) and operation not in RECEIVER:
                for noun in re.findall("{(.*)}", operation) or ["delivery"]:
                    for key in keys[noun] if "{" in operation else [any_row[noun]]:
                        answer = ask(self.client, operation, {**any_row, noun: key}, **headers)
                        statuses.add(self.keep(operation, answer))
        return statuses


def _all(model: Any, column: str = "pk") -> list[Any]:
    return list(model.objects.values_list(column, flat=True))


def keep_tables(written: Written) -> None:
    """Search all that is stored; a refused request is stored with its signature."""
    for model in apps.get_models():
        for row in model._base_manager.values():
            if model is Rejection:
                row["headers"].pop(SIGNATURE, None)
            for column, value in row.items():
                text = bytes(value) if isinstance(value, memoryview | bytes) else str(value)
                written.add(f"table {model.__name__}.{column}", text)


def keep_mails(written: Written) -> None:
    for sent in mail.outbox:
        texts = [sent.subject, sent.body, *(part[0] for part in getattr(sent, "alternatives", ()))]
        written.add(f"mail {sent.subject}", "\n".join(map(str, texts)))


@pytest.fixture
def written(settings, tmp_path, monkeypatch) -> Written:
    """What the app writes to its log from now on; all else is added to it."""
    settings.PERFSEE_WEBHOOKS = {
        **settings.PERFSEE_WEBHOOKS,
        "SECRETS": [ANY_HOOK, BEFORE],
        "HOOKS": {HOOK: {"SECRETS": [OF_A_HOOK], "PROJECTS": ["perfsee"]}},
        "SPOOL_DIR": tmp_path / "spool",
        "MAX_BODY_BYTES": MAX_BODY_BYTES,
        "MAX_ATTEMPTS": 2,
        "BACKOFF": timedelta(0),
        "KEEP_BODIES": timedelta(days=1),
        "KEEP_ROWS": timedelta(days=2),
    }
    address = "root@example.org"
    settings.ADMINS = [address] if django.VERSION >= (6, 0) else [("root", address)]
    if connection.vendor == "sqlite":  # which takes no password
        monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", OF_DATABASE)
    written = Written()
    mails = AdminEmailHandler(include_html=True)
    mails.setLevel(logging.ERROR)
    for name in ("perfsee_webhooks", "django"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [Ears(written), mails])
        monkeypatch.setattr(logger, "level", logging.DEBUG)
    for name in ("django.db", "django.template"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    return written


@pytest.fixture
def site(db, written, body) -> Site:
    return Site(written, body)


@sensitive_variables("setting", "secrets")
def knowing(sender, delivery, event, **kwargs):
    """Fails with the secrets at hand."""
    setting = site_settings.PERFSEE_WEBHOOKS
    secrets = conf.webhook_settings.all_secrets()
    raise RuntimeError(f"{len(setting)} settings, {secrets}")


# All that happens


def test_secrets__are_nowhere_in_all_that_the_app_writes(
    site, connect, monkeypatch, admin_user, tmp_path, webhook_setting
):
    written = site.written
    connect(side_effect=knowing, name="knowing")
    connect(side_effect=RetryLater(timedelta(0)), name="later")
    connect(signals.delivery_failed, side_effect=RuntimeError("told of it"), name="told")
    site.deliver()
    site.command("perfsee_sweep")
    assert Delivery.objects.filter(state="dead").count() == 3

    with monkeypatch.context() as away:
        away.setattr(DeliveryQuerySet, "record", Mock(side_effect=OperationalError("away")))
        assert site.post(delivery_id="four") == 204
        written.add("spool", b"".join(file.read_bytes() for file in (tmp_path / "spool").iterdir()))
        webhook_setting(SPOOL_DIR=None)
        assert site.post(delivery_id="five") == 503
        away.setattr(Rejection.objects, "keep", Mock(side_effect=OperationalError("away")))
        assert site.post(secret="another one, of enough characters") == 400
    webhook_setting(SPOOL_DIR=tmp_path / "spool")

    webhook_setting(PROCESSING="tests.nowhere.process")
    assert site.post(delivery_id="six") == 204
    webhook_setting(PROCESSING="inline")

    replay.start(replay.Selection(), requested_by="somebody")
    site.client.force_login(admin_user)
    assert site.crawl("GET") <= {200, 302, 403, 405}
    assert site.crawl("POST") <= {200, 201, 302, 400, 403, 405, 409}
    assert Rejection.objects.exclude(accepted_at=None).exists()

    for name, app in get_commands().items():
        if app == "perfsee_webhooks":
            for arguments in COMMANDS[name]:
                site.command(name, *arguments)
    keep_tables(written)
    old = timezone.now() - timedelta(days=1, hours=1)
    for _ in range(2):
        Delivery.objects.update(received_at=old)
        site.command("perfsee_prune")
        keep_tables(written)
        old -= timedelta(days=1)

    written.add("checks", [vars(one) for one in run_checks(include_deployment_checks=True)])
    registry = CollectorRegistry()
    registry.register(PerfseeCollector())
    written.add("metrics", generate_latest(registry))
    written.add("stats", stats.stats())
    keep_reprs(written)
    keep_mails(written)
    assert written.leaks() == set()


# What breaks on the way, and is shown by Django with the variables of each function


def broken(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError("broken on purpose")


COMPARING = SimpleNamespace(digest=hmac.digest, compare_digest=broken)
BREAKS: dict[str, tuple[Any, str, Any, str]] = {
    "verifying": (signatures, "hmac", COMPARING, "POST"),
    "reading": (Envelope, "read", broken, "POST"),
    "storing": (DeliveryQuerySet, "record", broken, "POST"),
    "diagnosing": (trials, "hmac", COMPARING, "/admin/perfsee_webhooks/rejection/{}/change/"),
    "rewriting": (trials, "stringify", broken, "/admin/perfsee_webhooks/rejection/{}/change/"),
    "showing": (Timeline, "of", broken, "/admin/perfsee_webhooks/delivery/{}/change/"),
    "telling": (DeliveryDetailSerializer, "get_headers", broken, "/api/deliveries/one/"),
}


@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.usefixtures("no_receivers")
def test_secrets__are_in_no_page_or_mail_about_an_error(
    name, is_debug, site, monkeypatch, settings, admin_user
):
    written = site.written
    settings.DEBUG = is_debug
    assert site.post(delivery_id="one") == 204
    assert site.post(secret="another one, of enough characters") == 400
    target, attribute, replacement, address = BREAKS[name]
    monkeypatch.setattr(target, attribute, replacement)
    if address == "POST":
        assert site.post(delivery_id="two") == 500
    else:
        site.client.force_login(admin_user)
        path = address.format((Rejection if "rejection" in address else Delivery).objects.get().pk)
        assert site.keep(path, site.client.get(path)) == 500
    keep_mails(written)
    told = b"".join(piece for _, piece in written.pieces)
    assert b"broken on purpose" in told
    assert b"PERFSEE_WEBHOOKS" in told
    assert written.leaks() == set()


@pytest.mark.parametrize("is_debug", [True, False])
def test_secrets__that_no_utf_8_can_encode_are_in_no_page_or_mail(
    is_debug, site, written, settings, webhook_setting
):
    settings.DEBUG = is_debug
    webhook_setting(SECRETS=[f"{ANY_HOOK}\udc80{BEFORE}"])
    site.post()
    keep_mails(written)
    assert written.leaks() == set()


# A database that does not let the site in


COMMANDS_WITHOUT_DATABASE = """
import django
django.setup()
import logging, traceback
from django.core.management import call_command
from django.db import connection
from django.test import Client
for name in ("perfsee_doctor", "perfsee_sweep", "perfsee_prune", "perfsee_tail", "perfsee_export"):
    try:
        call_command(name)
    except BaseException:
        traceback.print_exc()
Client(raise_request_exception=False).post("/perfsee/webhook/", b"{}", "application/json")
"""


@pytest.mark.once
def test_secrets__the_password_of_a_database_that_is_away_is_not_told(written):
    url = f"postgresql://perfsee:{OF_DATABASE}@127.0.0.1:9/perfsee"
    environment = running_environment(url, {"PERFSEE_SECRETS": f"{ANY_HOOK},{BEFORE}"})
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS_WITHOUT_DATABASE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    assert "could not be kept" in ran.stderr
    assert ran.stderr.count("connection failed") > 5
    written.add("stdout", ran.stdout)
    written.add("stderr", ran.stderr)
    assert written.leaks() == set()


# The search itself


@pytest.mark.parametrize(
    "hide",
    [
        str,
        lambda secret: f"before {secret} behind",
        lambda secret: secret[:25],
        lambda secret: secret.encode().hex(),
        lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
        *(
            lambda secret, before=before: base64.b64encode(f"{before}{secret}...".encode()).decode()
            for before in ("", "x", "xx", "xxx")
        ),
        lambda secret: repr(secret.encode()),
        lambda secret: json.dumps({"of": [secret]}),
    ],
)
def test_search__finds_a_secret_in_each_form(hide):
    written = Written()
    written.add("here", hide(OF_A_HOOK))
    assert written.leaks() == {("here", OF_A_HOOK)}


@pytest.mark.parametrize("hide", [str, str.upper, lambda digest: digest.partition("=")[2]])
def test_search__finds_a_signature(hide, body):
    written, signature = Written(), sign(body, ANY_HOOK)
    written.signatures.add(signature)
    written.add("here", hide(signature))
    assert written.leaks() == {("here", "a signature")}


def test_search__finds_what_is_planted_wherever_the_app_writes(
    site, written, delivery, no_receivers, settings
):
    Delivery.objects.update(body=ANY_HOOK.encode())
    Delivery.objects.update(summary=BEFORE)
    keep_tables(written)
    logger = logging.getLogger("perfsee_webhooks.planted")
    logger.info("%s", OF_A_HOOK, extra={"perfsee_planted": OF_DATABASE})
    logger.error("planted %s", IN_HEADER)
    keep_mails(written)
    site.keep("page", HttpResponse(BEFORE, headers={"X-Planted": ANY_HOOK}))
    places = {place for place, _what in written.leaks()}
    assert places == {
        "table Delivery.body",
        "table Delivery.summary",
        "log perfsee_webhooks.planted %s",
        "log perfsee_webhooks.planted planted %s",
        f"mail [Django] ERROR: planted {IN_HEADER}",
        "answer of page",
        "headers of page",
    }


def keep_reprs(written: Written) -> None:
    setting = conf.webhook_settings
    written.add("repr of the setting", [setting, setting.all_secrets(), setting.secrets_for(HOOK)])
    written.add("pickle of the setting", pickle.dumps(setting))
    written.add("pickle of rows", pickle.dumps([*Delivery.objects.all()]))


COMMANDS = {
    "perfsee_doctor": [[], ["--json"]],
    "perfsee_export": [[], ["--with-body"], ["--format=csv"]],
    "perfsee_prune": [["--dry-run"], ["--json"]],
    "perfsee_replay": [["--plan"], ["--dry-run", "--id=one"], ["--all", "--yes", "--json"]],
    "perfsee_send": [["--url=http://127.0.0.1:9/"], [f"--secret={BEFORE}", "--url=nonsense"]],
    "perfsee_sweep": [[], ["--json"]],
    "perfsee_tail": [[], ["--json"]],
}
