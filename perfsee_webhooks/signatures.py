"""Perfsee's signature: the HMAC-SHA-256 of the exact bytes of the body, in hexadecimal.

Pure functions over bytes. The specification is Perfsee's page "Webhook Setting", section
"Validating payloads"; HMAC itself is RFC 2104, its vectors RFC 4231.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

from .conf import Secret
from .exceptions import MalformedSignature, MissingSignature, WrongSignature

SCHEME = "sha256="
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")


def sign(body: bytes, secret: str | bytes) -> str:
    """Return the value of `X-Perfsee-Signature-256` for the exact bytes of a body.

    A secret given as text is encoded as UTF-8, as Node's crypto does it on the sending side.
    """
    key = secret.encode() if isinstance(secret, str) else secret
    return SCHEME + hmac.digest(key, body, "sha256").hex()


def verify(body: bytes, signature: str | None, secrets: Iterable[Secret]) -> Secret:
    """Return the secret that the signature was made with.

    Digests are compared in constant time, as bytes. An empty secret is never tried: everyone
    knows it.

    Raises:
        MissingSignature: there is no signature at all.
        MalformedSignature: it is not `sha256=` followed by 64 hexadecimal digits.
        WrongSignature: no secret makes it over this body.
    """
    if not signature:
        raise MissingSignature(
            "The request has no X-Perfsee-Signature-256 header: set a secret for the hook in "
            "Perfsee."
        )
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        raise MalformedSignature(
            "The X-Perfsee-Signature-256 header is not 'sha256=' and 64 hexadecimal digits."
        )
    claimed = bytes.fromhex(match[1])
    for secret in secrets:
        if secret.key and hmac.compare_digest(hmac.digest(secret.key, body, "sha256"), claimed):
            return secret
    raise WrongSignature(
        "The signature does not match the body: the secret set in Perfsee is not one that this "
        "site knows for the hook, or the body was changed on its way."
    )
