"""Whether what the headers of a request say agrees with its body, which alone is signed.

Whoever has a signed body can send it again with any headers, so one that says otherwise is a
sign of that, or of something between Perfsee and this site that changes requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .envelope import EVENT_HEADER, HOOK_PROJECT_HEADER, MAX_NAME_LENGTH
from .events import dashed
from .text import one_line

_LENGTH_HEADER = "Content-Length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A header that says something else than the body: its name, and what each of them says."""

    header: str
    header_says: str
    body_says: str


def disagreements(
    headers: Mapping[str, str], *, event_type: str, project: str, body_size: int | None
) -> Iterator[Disagreement]:
    """Yield the kept headers that disagree with what was read from the body.

    `event_type` and `project` are as a delivery stores them: one line, cut at 100 characters. An
    empty `project` says nothing, as does a `body_size` of None, for bytes that are gone. A header
    that is missing says nothing either.
    """
    event = one_line(headers.get(EVENT_HEADER, ""), MAX_NAME_LENGTH)
    if event and dashed(event) != dashed(event_type):
        yield Disagreement(header=EVENT_HEADER, header_says=event, body_says=event_type)
    slug = one_line(headers.get(HOOK_PROJECT_HEADER, ""), MAX_NAME_LENGTH)
    if slug and project and slug != project:
        yield Disagreement(header=HOOK_PROJECT_HEADER, header_says=slug, body_says=project)
    length = headers.get(_LENGTH_HEADER, "")
    if length and body_size is not None and not (length.isdecimal() and int(length) == body_size):
        yield Disagreement(header=_LENGTH_HEADER, header_says=length, body_says=str(body_size))
