"""A delivery as a script and as a test that send the same bytes again, freshly signed.

Whatever stands in a body or a header is quoted for where it is put. No secret is written into
either: the script takes one from the shell, the test has one of its own.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from .envelope import (
    DELIVERY_HEADER,
    EVENT_HEADER,
    HOOK_ID_HEADER,
    HOOK_PROJECT_HEADER,
    SIGNATURE_HEADER,
)
from .sending import USER_AGENT
from .signatures import SCHEME
from .text import one_line

_BYTES_IN_A_LINE: Final = 72
_MAX_HEADER_LENGTH: Final = 500

_SCRIPT: Final = """\
(
set -eu
: "${{PERFSEE_SECRET:?Set it to the secret of the hook.}}"
{url}
{delivery_id}
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{write_body}
signature=$(openssl dgst -sha256 -r -hmac "$PERFSEE_SECRET" < "$body")
curl --silent --show-error --include --request POST "$url" \\
{headers}
  --header "{delivery_header}: $id" \\
  --header "{signature_header}: {scheme}${{signature%% *}}" \\
  --data-binary "@$body"
)
"""

_TEST: Final = """\
import pytest
from django.urls import reverse

from perfsee_webhooks.models import Delivery
from perfsee_webhooks.signatures import sign

SECRET = "a secret of this test"
BODY = (
{body}
)
HEADERS = {{
{headers}
}}


@pytest.mark.django_db
def test_delivery(client, settings):
    settings.PERFSEE_WEBHOOKS = {{
        **settings.PERFSEE_WEBHOOKS,
        "SECRETS": [SECRET],
        "HOOKS": {{}},
    }}
    answer = client.generic(
        "POST",
        reverse("perfsee_webhooks:receive"),
        BODY,
        headers={{**HEADERS, "{signature_header}": sign(BODY, SECRET)}},
    )
    assert answer.status_code == 204
    delivery = Delivery.objects.get(delivery_id=HEADERS["{delivery_header}"])
    assert bytes(delivery.body) == BODY
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent again: the exact bytes, and the headers that came with them."""

    delivery_id: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str]

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers that Perfsee sends, without the id and the signature, each one line."""
        sent = {
            "Content-Type": self._fit("Content-Type") or "application/json",
            "User-Agent": self._fit("User-Agent") or USER_AGENT,
            EVENT_HEADER: self._fit(EVENT_HEADER),
            HOOK_ID_HEADER: self._fit(HOOK_ID_HEADER),
            HOOK_PROJECT_HEADER: self._fit(HOOK_PROJECT_HEADER),
        }
        return {name: value for name, value in sent.items() if value}

    def _fit(self, name: str) -> str:
        return one_line(self.headers.get(name, ""), _MAX_HEADER_LENGTH).strip()


def signed_curl(request: Request, url: str | None) -> str:
    """Return a shell script that signs a request with `$PERFSEE_SECRET` and sends it.

    It is sent to `$PERFSEE_URL_OF_RECEIVER`, by default to `url`, with the delivery id that it
    has or that of `$PERFSEE_DELIVERY_ID`. Its parentheses keep what it sets from the shell that
    it is pasted into.
    """
    return _SCRIPT.format(
        url=_variable("url", "PERFSEE_URL_OF_RECEIVER", url),
        delivery_id=_variable("id", "PERFSEE_DELIVERY_ID", request.delivery_id),
        write_body=_write_body(request.body),
        headers="\n".join(
            f"  --header {shlex.quote(f'{name}: {value}')} \\"
            for name, value in request.sent_headers.items()
        ),
        delivery_header=DELIVERY_HEADER,
        signature_header=SIGNATURE_HEADER,
        scheme=SCHEME,
    )


def pytest_test(request: Request) -> str:
    """Return a module with a test that posts a request to the site that it runs in."""
    headers = {DELIVERY_HEADER: request.delivery_id, **request.sent_headers}
    return _TEST.format(
        body="\n".join(f"    {line!r}" for line in _in_lines(request.body)),
        headers="\n".join(f"    {name!r}: {_as_header(value)}," for name, value in headers.items()),
        signature_header=SIGNATURE_HEADER,
        delivery_header=DELIVERY_HEADER,
    )


def _variable(name: str, source: str, default: str | None) -> str:
    """Set a variable from one of the environment; text in quotes inside `${…}` is not portable."""
    if default is None:
        return f"{name}=${{{source}:?Set it to the address of the receiver.}}"
    return f'{name}=${{{source}:-}}\n[ -n "${name}" ] || {name}={shlex.quote(default)}'


def _write_body(body: bytes) -> str:
    """Write the bytes into the script as they are where a person and a shell can read them."""
    text = body.decode(errors="replace")
    if text.encode() == body and one_line(text, len(text)) == text:
        return f"printf '%s' {shlex.quote(text)} > \"$body\""
    lines = base64.encodebytes(body).decode()
    return f"openssl base64 -d > \"$body\" <<'END'\n{lines}END"


def _in_lines(body: bytes) -> Iterator[bytes]:
    yield from (
        body[start : start + _BYTES_IN_A_LINE]
        for start in range(0, max(len(body), 1), _BYTES_IN_A_LINE)
    )


def _as_header(value: str) -> str:
    """Write a header as Django's test client takes one: its bytes as Latin-1, like a server."""
    return ascii(value.encode().decode("latin-1"))
