"""The base of all payloads: a frozen dataclass that is read from an object of parsed JSON.

A field is declared with the keys that it is read from, the newest first, such as
`score: float | None = number("score")`, and read when it is first asked for. Reading never raises:
what is missing, null, or of another type than promised is None, and an object that is missing is an
empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from . import values
from .enumerations import OpenEnumeration
from .records import Records
from .values import Raw

_KEYS: Final = "keys"
_READ: Final = "read"

_Read = Callable[[Any], Any]
_Value = TypeVar("_Value")
_Record = TypeVar("_Record", bound="Record")
_Enumeration = TypeVar("_Enumeration", bound=OpenEnumeration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object of a payload. It is true unless nothing at all was sent."""

    raw: Raw = field(default_factory=lambda: values.NOTHING, repr=False, compare=False)
    """The object as it was sent, with the keys that this version does not know.

    Fields are read from it when they are first asked for, so leave it as it is.
    """

    def __bool__(self) -> bool:
        return bool(self.raw) or self != type(self)()

    @classmethod
    def read(cls, value: object) -> Self:
        """Return the record for any JSON value; one that is no object reads as an empty one."""
        return cls._unread(raw=values.mapping(value))

    @classmethod
    def _unread(cls, **known: Any) -> Self:
        """Return a record of which only these fields are set."""
        record = cls.__new__(cls)
        for name, value in known.items():
            object.__setattr__(record, name, value)  # which is frozen for everybody else
        return record

    @property
    def _declared_in(self) -> Raw:
        """The object that the declared fields are read from."""
        return self.raw

    # To a type checker each field is there.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Read a field whose slot is still empty, and keep it there."""
            declared = _declarations_of(type(self)).get(name)
            if declared is None:
                raise AttributeError(f"{type(self).__name__} has no {name!r}.")
            value = _value_in(self._declared_in, *declared)
            object.__setattr__(self, name, value)
            return value


def text(*keys: str) -> str | None:
    """Declare text; a whole number is read as text."""
    return _declared(keys, values.text, None)


def integer(*keys: str) -> int | None:
    """Declare a whole number."""
    return _declared(keys, values.integer, None)


def number(*keys: str) -> float | None:
    """Declare a finite number."""
    return _declared(keys, values.number, None)


def flag(*keys: str) -> bool | None:
    """Declare what is true or false."""
    return _declared(keys, values.flag, None)


def moment(*keys: str) -> datetime | None:
    """Declare an ISO 8601 moment, read as an aware one in UTC."""
    return _declared(keys, values.moment, None)


def one_of(enumeration: type[_Enumeration], *keys: str) -> _Enumeration | None:
    """Declare a member of an enumeration."""
    return _declared(keys, enumeration.read, None)


def nested(kind: type[_Record], *keys: str) -> _Record:
    """Declare an object within, an empty one if it is missing.

    Without a key it is the object itself, read as another kind.
    """
    read = _reader_of(kind)
    return _declared(keys, read, read(None))


def listed(kind: type[_Record], *keys: str) -> Sequence[_Record]:
    """Declare the objects of a list, whatever else is in it left out; each is read when asked."""

    def read_each(value: object) -> Sequence[_Record]:
        return Records(kind.read, value)

    return _declared(keys, read_each, ())


def keys_of(kind: type[Record]) -> dict[str, tuple[str, ...]]:
    """Return the JSON keys that each declared field is read from, the newest first."""
    return {
        declared.name: declared.metadata[_KEYS]
        for declared in fields(kind)
        if _KEYS in declared.metadata
    }


def _declared(keys: tuple[str, ...], read: Callable[[Any], _Value], default: _Value) -> _Value:
    return field(default=default, metadata={_KEYS: keys, _READ: read})


def _reader_of(kind: type[_Record]) -> Callable[[object], _Record]:
    empty = kind()  # frozen, so that one stands for all that are missing
    return lambda value: kind.read(value) if value else empty


def _value_in(raw: Raw, keys: tuple[str, ...], read: _Read, default: Any) -> Any:
    if not keys:
        return read(raw)
    for key in keys:
        sent = raw.get(key)
        if sent is not None and (value := read(sent)) is not None:
            return value
    return default


@cache
def _declarations_of(kind: type[Record]) -> dict[str, tuple[tuple[str, ...], _Read, Any]]:
    """Return keys, reader and default of each field but the raw object; looked up once."""
    return {
        declared.name: (
            declared.metadata.get(_KEYS, ()),
            declared.metadata.get(_READ) or _always(declared),
            declared.default,
        )
        for declared in fields(kind)
        if declared.name != "raw"
    }


def _always(plain: Field[Any]) -> _Read:
    """Return the reader of a field that is not declared with keys: it has its default."""
    if plain.default_factory is not MISSING:
        make = plain.default_factory
        return lambda _raw: make()
    return lambda _raw: plain.default
