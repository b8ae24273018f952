"""The objects of a list in a payload, each of which is read when it is asked for.

Ten megabytes hold a million of them: to read them all takes seconds, in which Perfsee waits for
its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar, overload

from . import values
from .values import Raw

_Record_co = TypeVar("_Record_co", covariant=True)


class Records(Sequence[_Record_co]):
    """A sequence that is equal to the tuple of its records, and cannot be changed.

    A record is read anew each time: who looks at one again and again keeps it.
    """

    def __init__(self, read: Callable[[object], _Record_co], sent: object) -> None:
        self._read = read
        self._sent = sent

    @cached_property
    def _objects(self) -> list[Raw]:
        return values.objects(self._sent)

    @overload
    def __getitem__(self, index: int) -> _Record_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_Record_co]: ...
    def __getitem__(self, index: int | slice) -> _Record_co | Sequence[_Record_co]:
        if isinstance(index, slice):
            return Records(self._read, self._objects[index])
        return self._read(self._objects[index])

    def __iter__(self) -> Iterator[_Record_co]:
        return map(self._read, self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Records | tuple):
            return NotImplemented
        return len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Records, (self._read, self._objects)
