"""Try which secret made a signature, over the body as it came or as it may have been sent.

What is tried is what goes wrong in practice: a secret copied with white space or quotes around
it, a body that a proxy has rewritten, a header in another notation. Digests stay in here.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice, product
from typing import Final

from ..conf import Secret
from ..envelope import parse_body
from ..javascript import stringify

# More than that takes too long while somebody waits for the page.
MAX_TRIALS: Final = 2000
MAX_REWRITTEN_BYTES: Final = 128 * 1024

_DIGEST_BYTES: Final = 32
_QUOTES: Final = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c")
_CHARSETS: Final = ("latin-1", "cp1252")
_WIDE_CHARSETS: Final = ("utf-16", "utf-16-le", "utf-16-be")

EMPTY: Final = Secret(label="an empty secret", key=b"")


class KeyChange(StrEnum):
    """What has to be done to a secret of the setting to get the one that signed."""

    NONE = ""
    STRIPPED = "without the white space at its beginning or end"
    UNQUOTED = "without the quotes around it"
    WITH_LINE_END = "with a line end added to it"


class Notation(StrEnum):
    """How the signature is written, where that is not Perfsee's own way."""

    PERFSEE = ""
    NO_PREFIX = "without 'sha256=' before it"
    OTHER_PREFIX = "with 'sha256=' written otherwise"
    BASE64 = "in base64 instead of hexadecimal digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The secret that made a signature, and what was different about it, the body, the header.

    `body_change` is empty if the body is as it was signed, and otherwise says how it was.
    """

    secret: Secret
    key_change: KeyChange
    body_change: str
    notation: Notation

    @property
    def is_exact(self) -> bool:
        """Whether it is the secret, the body and the notation that Perfsee has."""
        return not (self.key_change or self.body_change or self.notation)


def find_match(body: bytes, signature: str, secrets: Iterable[Secret]) -> Match | None:
    """Return what made a signature, the least unusual explanation first; None if nothing did."""
    read = _read_signature(signature)
    if read is None:
        return None
    notation, claimed = read
    set_here = (secret for secret in secrets if secret.key)
    keys = [(secret, change, key) for secret in (*set_here, EMPTY) for change, key in _keys(secret)]
    trials = sorted(
        product(keys, _bodies(body)), key=lambda trial: bool(trial[0][1]) + bool(trial[1][0])
    )
    for (secret, key_change, altered), (body_change, tried) in islice(trials, MAX_TRIALS):
        if hmac.compare_digest(hmac.digest(altered.key, tried, "sha256"), claimed):
            return Match(
                secret=secret, key_change=key_change, body_change=body_change, notation=notation
            )
    return None


def is_readable(signature: str) -> bool:
    """Say whether a header holds a SHA-256 digest in any notation."""
    return _read_signature(signature) is not None


def _read_signature(signature: str) -> tuple[Notation, bytes] | None:
    found = re.fullmatch(r"((?i:\s*sha256\s*=\s*)?)(\S+)\s*", signature)
    if found is None:
        return None
    prefix, digest = found.groups()
    if re.fullmatch("[0-9a-fA-F]{64}", digest):
        if prefix == "sha256=" and signature.endswith(digest):
            return Notation.PERFSEE, bytes.fromhex(digest)
        return Notation.OTHER_PREFIX if prefix else Notation.NO_PREFIX, bytes.fromhex(digest)
    try:
        standard = digest.translate(str.maketrans("-_", "+/"))
        padded = standard + "=" * (-len(standard) % 4)
        decoded = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return (Notation.BASE64, decoded) if len(decoded) == _DIGEST_BYTES else None


def _keys(secret: Secret) -> Iterator[tuple[KeyChange, Secret]]:
    """Yield a secret as it is, and as it may be in Perfsee.

    Nothing but a `Secret` leaves it: what watches for errors shows the variables of functions.
    """
    text = secret.key.decode()
    stripped = text.strip()
    unquoted = stripped[1:-1].strip() if stripped[:1] + stripped[-1:] in _QUOTES else stripped
    yield KeyChange.NONE, secret
    if not text:
        return
    if stripped and stripped != text:
        yield KeyChange.STRIPPED, replace(secret, key=stripped.encode())
    if unquoted and unquoted != stripped:
        yield KeyChange.UNQUOTED, replace(secret, key=unquoted.encode())
    for line_end in ("\n", "\r\n"):
        ended = text.rstrip("\r\n") + line_end
        yield KeyChange.WITH_LINE_END, replace(secret, key=ended.encode())


def _bodies(body: bytes) -> list[tuple[str, bytes]]:
    """Return a body as it came, and as it may have been sent, each with what to say of it."""
    bodies = {body: ""}
    if len(body) > MAX_REWRITTEN_BYTES:
        return [("", body)]
    for charset, decoded in _decodings(body):
        for change, rewritten in _rewritings(decoded):
            bodies.setdefault(rewritten, " and ".join(filter(None, (charset, change))))
    return [(change, rewritten) for rewritten, change in bodies.items()]


def _decodings(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a body, and what it was before it was read or written with a wrong charset."""
    yield "", body
    for charset in _CHARSETS:
        yield from _recoded(body, "utf-8", charset, f"as it was before it was taken for {charset}")
    for charset in (*_CHARSETS, *(_WIDE_CHARSETS if b"\0" in body else ())):
        yield from _recoded(body, charset, "utf-8", f"encoded as UTF-8 instead of {charset}")


def _recoded(body: bytes, source: str, target: str, change: str) -> Iterator[tuple[str, bytes]]:
    try:
        yield change, body.decode(source).encode(target)
    except UnicodeError:
        return


def _rewritings(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a body, and what it was before a proxy or a tool wrote it anew."""
    yield "", body
    unmarked = body.removeprefix(codecs.BOM_UTF8)
    without_mark = "without the byte order mark at its beginning"
    yield without_mark, unmarked
    trimmed = unmarked.rstrip()
    without_end = "without the white space at its end"
    yield without_end if unmarked == body else f"{without_mark} and {without_end}", trimmed
    yield "with LF instead of CRLF", body.replace(b"\r\n", b"\n")
    try:
        written = stringify(parse_body(trimmed).raw).encode()
    except (ValueError, RecursionError):
        return
    yield "as JavaScript's JSON.stringify writes it", written
