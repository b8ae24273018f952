"""How often something may be done, and whether it has been done before."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whether it may be done now, and how often it might not since the last time that it might.

    `is_first_refusal` is true once in a rush, which lasts until the whole burst is there again, so
    that it can be told once.
    """

    is_allowed: bool
    refusals: int
    is_first_refusal: bool = False


class Rate:
    """A token bucket: `burst` times at once, then `per_second` times a second. Thread-safe."""

    def __init__(
        self, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.burst = burst
        self.per_second = per_second
        self._clock = clock
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the whole burst."""
        with self._lock:
            self._tokens = float(self.burst)
            self._filled_at = self._clock()
            self._refusals = 0
            self._is_calm = True

    def take_turn(self) -> Turn:
        """Say whether it may be done now, and count the refusal if not."""
        with self._lock:
            now = self._clock()
            gained = (now - self._filled_at) * self.per_second
            self._tokens = min(self._tokens + gained, self.burst)
            self._filled_at = now
            self._is_calm = self._is_calm or self._tokens >= self.burst
            if self._tokens >= 1:
                self._tokens -= 1
                refusals, self._refusals = self._refusals, 0
                return Turn(is_allowed=True, refusals=refusals)
            self._refusals += 1
            was_calm, self._is_calm = self._is_calm, False
            return Turn(is_allowed=False, refusals=self._refusals, is_first_refusal=was_calm)

    def count(self, refusals: int) -> None:
        """Count refusals again, of a turn that came to nothing."""
        with self._lock:
            self._refusals += refusals


class Recent:
    """Remembers what was noted last, up to `size` things. Thread-safe."""

    def __init__(self, *, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._noted: dict[Hashable, None] = {}

    def __contains__(self, thing: Hashable) -> bool:
        with self._lock:
            return thing in self._noted

    def note(self, thing: Hashable) -> None:
        """Remember it as the newest."""
        with self._lock:
            self._noted.pop(thing, None)
            self._noted[thing] = None
            if len(self._noted) > self._size:
                del self._noted[next(iter(self._noted))]

    def reset(self) -> None:
        """Remember nothing."""
        with self._lock:
            self._noted.clear()
