"""Why a request is not stored as a delivery, and what a receiver can raise.

The message of each refusal is one sentence for the sender: what was wrong and what to do.
It never repeats what the request contained, and never shows a secret or a digest.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar


class RequestRefused(Exception):
    """A request that is not stored as a delivery; `status` is the HTTP status it is answered.

    `code` is stable, names the reason in the answer and is the reason of the kept `Rejection`.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str]


class MalformedRequest(RequestRefused):
    """A request whose headers or body do not make a delivery."""

    code = "malformed"


class MissingSignature(RequestRefused):
    """A request without a signature, where the site does not accept unsigned ones."""

    code = "missing_signature"


class MalformedSignature(RequestRefused):
    """A signature header that is not `sha256=` and 64 hexadecimal digits."""

    code = "malformed_signature"


class WrongSignature(RequestRefused):
    """A signature that none of the secrets valid for the hook makes over this body."""

    code = "wrong_signature"


class ProjectNotAllowed(RequestRefused):
    """A signed body about a project that the hook's `PROJECTS` do not list."""

    code = "project_not_allowed"


class BodyTooLarge(RequestRefused):
    """A body of more than `MAX_BODY_BYTES` bytes."""

    status = 413
    code = "too_large"

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class DeliveryConflict(RequestRefused):
    """A known delivery id that came again with another body."""

    status = 409
    code = "conflict"


class SameBody(RequestRefused):
    """A body that is stored under another delivery id, where `REFUSE_SAME_BODY` is set."""

    status = 409
    code = "same_body"


class NotStored(RequestRefused):
    """A good request that the database did not take."""

    status = 503
    code = "not_stored"


class RetryLater(Exception):
    """Raised by a receiver that wants to be run again no sooner than after `delay`.

    The run counts as a failed attempt like any other. The whole delivery waits, so that other
    receivers that failed wait as long.

    Raises:
        TypeError: `delay` is no timedelta.
    """

    def __init__(self, delay: timedelta, reason: str = "") -> None:
        if not isinstance(delay, timedelta):
            raise TypeError(f"RetryLater takes a timedelta, not {delay!r}.")
        super().__init__(reason or f"again in {delay}")
        self.delay = delay


class GiveUp(Exception):
    """Raised by a receiver that is not to be run again for this delivery, but by a replay."""


class LeaseLost(Exception):
    """A process that settles or renews a delivery which another one has taken over."""
