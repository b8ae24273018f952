"""Send signed sample deliveries, to see that a receiver works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.urls import NoReverseMatch, reverse

from perfsee_webhooks import events, sending
from perfsee_webhooks.conf import webhook_settings
from perfsee_webhooks.management.documented import DocumentedCommand
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.text import lines

ORIGIN = "http://127.0.0.1:8000"
ALL_EVENTS = "all"
MAX_SHOWN_BYTES = 300


class Command(DocumentedCommand):
    """Sends the samples, or a body of the user's own, and prints each answer."""

    help = "Send signed sample deliveries to a receiver and print status and time of each answer."
    examples = (
        "manage.py perfsee_send --event bundle:finished --count 3",
        "manage.py perfsee_send --body body.json --url https://hooks.example.com/perfsee/webhook/",
    )
    exit_statuses = {0: "every answer was 2xx", 1: "one was not, or nothing answered"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument(
            "--event",
            type=events.canonical,
            choices=[*events.KNOWN, ALL_EVENTS],
            default=ALL_EVENTS,
            metavar="EVENT",
            help=f"which sample to send: {', '.join(events.KNOWN)} (default: all of them)",
        )
        parser.add_argument(
            "--body", type=Path, metavar="FILE", help="send the bytes of a file instead"
        )
        parser.add_argument(
            "--count", type=int, default=1, help="how often to send each (default: %(default)s)"
        )
        parser.add_argument(
            "--secret", help="the secret to sign with (default: the first of this site's SECRETS)"
        )
        parser.add_argument("--unsigned", action="store_true", help="send without a signature")
        parser.add_argument(
            "--url", help=f"the receiver's address (default: this site's own on {ORIGIN})"
        )

    def handle(
        self,
        *,
        event: str,
        body: Path | None,
        count: int,
        secret: str | None,
        unsigned: bool,
        url: str | None,
        **_options: Any,
    ) -> None:
        """Send each body as often as asked for."""
        if count < 1:
            raise CommandError("--count has to be 1 or more.")
        url = url or _own_url()
        if unsigned:
            secret = None
        elif secret is None:
            secret = _own_secret()
        answers = [
            self._send(url, sent, secret) for sent in _bodies(event, body) for _ in range(count)
        ]
        failed = answers.count(False)
        if failed:
            raise CommandError(f"{failed} of {len(answers)} deliveries were not accepted.")

    def _send(self, url: str, body: bytes, secret: str | None) -> bool:
        headers = sending.perfsee_headers(body, secret)
        try:
            answer = sending.post(url, body, headers)
        except (sending.NotSent, ValueError) as error:
            raise CommandError(str(error)) from error
        milliseconds = answer.duration.total_seconds() * 1000
        self.stdout.write(
            f"{answer.status}  {milliseconds:7.1f} ms  {headers['X-Perfsee-Event']:<29}  "
            f"{headers['X-Perfsee-Delivery']}"
        )
        accepted = 200 <= answer.status < 300
        if not accepted:
            # Whoever answers could tell the terminal anything.
            told = answer.body[:MAX_SHOWN_BYTES].decode(errors="replace")
            self.stderr.write(lines(told, MAX_SHOWN_BYTES))
        return accepted


def _bodies(event: str, file: Path | None) -> Iterator[bytes]:
    if file is not None:
        try:
            yield file.read_bytes()
        except OSError as error:
            raise CommandError(f"The body cannot be read: {error}.") from error
    else:
        for name in events.KNOWN if event == ALL_EVENTS else (event,):
            yield sample_body(name)


def _own_url() -> str:
    try:
        return ORIGIN + reverse("perfsee_webhooks:receive")
    except NoReverseMatch as error:
        raise CommandError(
            "This site does not include perfsee_webhooks.urls: include them, or give --url."
        ) from error


def _own_secret() -> str:
    secrets = webhook_settings.secrets_for(sending.SAMPLE_HOOK_ID)
    if not secrets:
        raise CommandError("This site has no SECRETS that are valid for any hook: give --secret.")
    return secrets[0].key.decode()
