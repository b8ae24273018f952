"""Text from outside, made fit for every database, log and page without losing where it was odd."""

from __future__ import annotations

import json
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Control characters (PostgreSQL refuses NUL, terminals obey the others), lone surrogates (no
# encoding takes them) and the marks that turn the direction of text (they hide what is written).
_SEPARATORS_AND_DIRECTION = "\u2028\u2029\u202a-\u202e\u2066-\u2069"
_UNFIT_IN_A_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff{_SEPARATORS_AND_DIRECTION}]")
_UNFIT_IN_LINES = re.compile(
    f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_SEPARATORS_AND_DIRECTION}]"
)


def is_encodable(text: str) -> bool:
    """Say whether UTF-8 can encode a text: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def one_line(value: str, max_length: int) -> str:
    """Return `value` as one line of at most `max_length` characters.

    Each character that a database, a terminal or a reader would stumble over becomes U+FFFD;
    what is cut off is marked by an ellipsis.
    """
    # Most is fit as it is, and this is found out in a tenth of the time.
    if len(value) <= max_length and value.isascii() and value.isprintable():
        return value
    return _shortened(_UNFIT_IN_A_LINE.sub(REPLACEMENT, value[: max_length + 1]), max_length)


def lines(value: str, max_length: int) -> str:
    """Return `value` as `one_line` does, with its line ends and tabs kept and its end preferred.

    Of a traceback the last lines say what happened, so the beginning is what gives way.
    """
    end = value[-(max_length + 1) :].replace("\r\n", "\n")
    fit = _UNFIT_IN_LINES.sub(REPLACEMENT, end)
    return fit if len(fit) <= max_length else "…" + fit[len(fit) - max_length + 1 :]


def _shortened(value: str, max_length: int) -> str:
    return value if len(value) <= max_length else value[: max_length - 1] + "…"


def pretty_json(value: Any) -> str:
    """Return a JSON value indented, each unfit character as the escape that stands for it.

    Raises:
        RecursionError: the value is nested too deeply to be written.
    """
    return escaped(json.dumps(value, indent=2, ensure_ascii=False))


def escaped(written: str) -> str:
    """Return JSON with each unfit character in it as the escape that stands for it."""
    return _UNFIT_IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", written)
