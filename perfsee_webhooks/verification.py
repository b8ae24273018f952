"""Who vouches for a request: the same question for one that comes and for one that was refused."""

from __future__ import annotations

from collections.abc import Mapping

from .conf import webhook_settings
from .envelope import SIGNATURE_HEADER, UNSIGNED, hook_id_in
from .signatures import verify


def verify_request(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the label of the secret that signed the body, or `UNSIGNED` where that will do.

    `headers` are the `kept_headers` of the request.

    Raises:
        RequestRefused: nobody vouches for the body, as `signatures.verify` says.
    """
    signature = headers.get(SIGNATURE_HEADER)
    if signature is None and webhook_settings.allow_unsigned:
        return UNSIGNED
    secrets = webhook_settings.secrets_for(hook_id_in(headers))
    return verify(body, signature, secrets).label
