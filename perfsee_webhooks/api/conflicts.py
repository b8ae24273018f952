"""What cannot be done to a row as it is now."""

from __future__ import annotations

from rest_framework.exceptions import APIException


class Conflict(APIException):
    """The row is not in a state in which this can be done; the message says why."""

    status_code = 409
    default_detail = "This cannot be done to it as it is now."
    default_code = "conflict"


class Gone(APIException):
    """It was here once, and is not kept any more; the message says why."""

    status_code = 410
    default_detail = "It is not kept any more."
    default_code = "gone"
