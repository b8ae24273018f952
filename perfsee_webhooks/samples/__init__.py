"""A body of each of the four events, byte for byte as Perfsee's server writes it."""

from __future__ import annotations

from importlib.resources import files

from .. import events


def sample_body(event_type: str) -> bytes:
    """Return the sample of an event.

    Raises:
        ValueError: there is no such event; the message lists those that there are.
    """
    name = events.canonical(event_type)
    if name not in events.KNOWN:
        raise ValueError(
            f"There is no sample of {event_type!r}, only of {', '.join(events.KNOWN)}."
        )
    return files(__name__).joinpath(f"{events.dashed(name)}.json").read_bytes()
