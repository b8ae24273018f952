"""What fuzzing has tried and found: counted by kind, each finding with the input that makes it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

# A fault that most inputs meet is told often enough by these.
MAX_OF_A_KIND: Final = 5
# A longer input is made again from its seed.
_MAX_SHOWN_BYTES: Final = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that broke a promise: what it was made to be, and which promise."""

    kind: str
    what: str
    data: bytes = field(default=b"", repr=False)
    seed: str = ""

    def lines(self) -> Iterator[str]:
        """Yield it for a person, with its seed and the input as base64, to be tried again."""
        yield f"{self.kind}: {self.what}"
        if self.seed:
            yield f"  seed: {self.seed}"
        if 0 < len(self.data) <= _MAX_SHOWN_BYTES:
            yield f"  input: {base64.b64encode(self.data).decode()}"


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many inputs of each kind were tried, and what was found. Thread-safe."""

    tried: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def count(self, kind: str, *statuses: int) -> None:
        """Count an input, and what it was answered."""
        with self._lock:
            self.tried[kind] += 1
            self.answers.update(statuses)

    def add(self, kind: str, what: str, data: bytes = b"", *, seed: str = "") -> None:
        """Add a finding; of one kind only the first few are kept, the others counted."""
        with self._lock:
            self.found[kind] += 1
            if self.found[kind] <= MAX_OF_A_KIND:
                self.findings.append(Finding(kind=kind, what=what, data=data, seed=seed))

    def report(self) -> str:
        """Return all of it for a person."""
        lines = [f"{self.tried.total():,} inputs"]
        lines += [f"  {kind:32} {count:>10,}" for kind, count in sorted(self.tried.items())]
        if self.answers:
            lines.append(f"{self.answers.total():,} answers")
            lines += [f"  {status:<32} {n:>10,}" for status, n in sorted(self.answers.items())]
        lines += self.notes
        lines.append(f"{self.found.total():,} findings")
        lines += [f"  {line}" for finding in self.findings for line in finding.lines()]
        return "\n".join(lines)
