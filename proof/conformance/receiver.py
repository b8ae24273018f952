"""What the scenarios know of a receiver: an address, and of one that is at hand much more."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A delivery as a receiver keeps it: the bytes, and the event that it took it for."""

    body: bytes
    event_type: str


class Receiver(Protocol):
    """Anything that listens: its address, and the secrets that it knows, the newest first."""

    @property
    def url(self) -> str:
        """The address that Perfsee sends to."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets, at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteReceiver:
    """A receiver of which nothing is known but where it listens."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)


class ReceiverAtHand(Receiver, Protocol):
    """A receiver in processes of its own, that can be looked into, killed, and cut off.

    `folder` is where it keeps what it has, and `patience_seconds` how long it may take to do what
    it has acknowledged, counted from when nothing stands in its way any more.
    """

    name: str
    folder: Path
    patience_seconds: float

    def start(self) -> None:
        """Start it; at another address perhaps than before."""

    def kill(self) -> None:
        """End all its processes with SIGKILL."""

    def revive(self) -> None:
        """Start it again if it has ended, as a supervisor does."""

    def stored(self, delivery_id: str) -> list[Stored]:
        """Return each row that it keeps under an id."""

    def effects(self, delivery_id: str) -> Counter[str]:
        """Return how often each effect of a delivery is done."""

    def is_settled(self, delivery_id: str) -> bool:
        """Say whether nothing is left to be done for a delivery that it keeps."""

    def database_away(self) -> AbstractContextManager[None]:
        """Take its database away for a while."""
