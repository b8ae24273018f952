"""The signals that a site connects its receivers to, and how to find the receivers of an event.

A receiver is called once for a delivery, `receiver(sender, delivery, event, **kwargs)`, whichever
and however many of the signals it is connected to. It may be a plain or an `async` function.

sender:   the `Delivery` class
delivery: the stored `Delivery`, an instance of the receiver's own
event:    its `payloads.Event`, of the class of its signal, parsed afresh for each receiver
signal:   the signal that found the receiver, among `**kwargs` as for each Django signal

Each call runs in a database transaction of its own, together with the `ReceiverRun` that records
it. To return is to succeed; the returned value is ignored. To raise is to fail: the transaction
is rolled back, the traceback recorded, and the receiver tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, overload

from django.dispatch import Signal

from . import events
from .payloads import (
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    SourceFinished,
)
from .text import one_line

MAX_LABEL_LENGTH: Final = 200

_Event_co = TypeVar("_Event_co", bound=Event, covariant=True)
_Event_contra = TypeVar("_Event_contra", bound=Event, contravariant=True)


class Receiver(Protocol[_Event_contra]):
    """What a type checker takes for a receiver of an event: it is called by keyword."""

    def __call__(
        self, *, sender: Any, delivery: Any, event: _Event_contra, signal: Any, **kwargs: Any
    ) -> object:
        """Handle an event; what is returned is ignored, unless it is to be awaited."""


class EventSignal(Signal, Generic[_Event_co]):
    """A signal sent for each delivery whose event type its pattern matches.

    `events.compiled` says how a pattern reads, and what it raises. Only the signals of this module
    are sent, and those that `receive` makes. To a type checker it is generic in the class of its
    events, so that a receiver of another event cannot be connected.
    """

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.pattern = pattern
        self._matches = events.compiled(pattern).fullmatch

    def __repr__(self) -> str:
        return f"<EventSignal {self.pattern!r}>"

    def connect(
        self,
        receiver: Receiver[_Event_co],
        sender: object | None = None,
        weak: bool = True,  # noqa: FBT001, FBT002  # as Django has it
        dispatch_uid: Hashable | None = None,
    ) -> None:
        """Connect a receiver, as with any signal of Django."""
        super().connect(receiver, sender, weak, dispatch_uid)

    def matches(self, event_type: str) -> bool:
        """Say whether a delivery of this event type is sent to the signal's receivers."""
        return self._matches(event_type) is not None

    def live_receivers(self, sender: object) -> list[Callable[..., Any]]:
        """Return the receivers for a sender that still exist, sync and async ones."""
        synchronous, asynchronous = self._live_receivers(sender)
        return [*synchronous, *asynchronous]


# Sent for every delivery, of a known event or not, also for a body that could not be read.
delivery_received: Final[EventSignal[Event]] = EventSignal("*")

# Sent when Perfsee has finished the analysis of a bundle, passed or failed:
# `event.bundle.artifact` and `event.bundle.baseline`.
bundle_finished: Final[EventSignal[BundleFinished]] = EventSignal(events.BUNDLE_FINISHED)

# Sent when all reports of a lab snapshot are in: `event.snapshot` and its `reports`.
lab_snapshot_completed: Final[EventSignal[LabSnapshotCompleted]] = EventSignal(
    events.LAB_SNAPSHOT_COMPLETED
)

# Sent when one report of a lab snapshot is in: `event.snapshot_report`.
lab_snapshot_report_completed: Final[EventSignal[LabSnapshotReportCompleted]] = EventSignal(
    events.LAB_SNAPSHOT_REPORT_COMPLETED
)

# Sent when the source analysis of a lab report is finished: `event.snapshot_report`.
source_finished: Final[EventSignal[SourceFinished]] = EventSignal(events.SOURCE_FINISHED)

# Sent when a delivery is dead: a receiver has given up, or failed at the last attempt. Its
# receivers are called `receiver(sender, delivery, runs, **kwargs)`, where `runs` is the last
# `ReceiverRun` of each receiver that has not succeeded. They are told at most once, outside a
# transaction, and what they raise is logged and changes nothing.
delivery_failed: Final = Signal()

_signals: Final[dict[str, EventSignal[Event]]] = {
    signal.pattern: signal
    for signal in (
        bundle_finished,
        lab_snapshot_completed,
        lab_snapshot_report_completed,
        source_finished,
        delivery_received,
    )
}


def signal_of(pattern: str) -> EventSignal[Event]:
    """Return the signal of a pattern of events, one and the same for each that is written alike.

    Raises:
        ValueError: the pattern names no event at all.
    """
    return _signals.setdefault(pattern, EventSignal(pattern))


_ReceiverOfAnyEvent = TypeVar("_ReceiverOfAnyEvent", bound=Receiver[Event])
_ReceiverOfBundleFinished = TypeVar("_ReceiverOfBundleFinished", bound=Receiver[BundleFinished])
_ReceiverOfLabSnapshotCompleted = TypeVar(
    "_ReceiverOfLabSnapshotCompleted", bound=Receiver[LabSnapshotCompleted]
)
_ReceiverOfLabSnapshotReportCompleted = TypeVar(
    "_ReceiverOfLabSnapshotReportCompleted", bound=Receiver[LabSnapshotReportCompleted]
)
_ReceiverOfSourceFinished = TypeVar("_ReceiverOfSourceFinished", bound=Receiver[SourceFinished])


@overload
def receive(
    to: EventSignal[BundleFinished] | Literal["bundle:finished", "bundle-finished"], **connect: Any
) -> Callable[[_ReceiverOfBundleFinished], _ReceiverOfBundleFinished]: ...
@overload
def receive(
    to: EventSignal[LabSnapshotCompleted]
    | Literal["lab:snapshot-completed", "lab-snapshot-completed"],
    **connect: Any,
) -> Callable[[_ReceiverOfLabSnapshotCompleted], _ReceiverOfLabSnapshotCompleted]: ...
@overload
def receive(
    to: EventSignal[LabSnapshotReportCompleted]
    | Literal["lab:snapshot-report-completed", "lab-snapshot-report-completed"],
    **connect: Any,
) -> Callable[[_ReceiverOfLabSnapshotReportCompleted], _ReceiverOfLabSnapshotReportCompleted]: ...
@overload
def receive(
    to: EventSignal[SourceFinished] | Literal["source:finished", "source-finished"], **connect: Any
) -> Callable[[_ReceiverOfSourceFinished], _ReceiverOfSourceFinished]: ...
@overload
def receive(
    to: EventSignal[Event] | str, **connect: Any
) -> Callable[[_ReceiverOfAnyEvent], _ReceiverOfAnyEvent]: ...
def receive(to: EventSignal[Event] | str, **connect: Any) -> Callable[[Any], Any]:
    """Connect the decorated receiver to a signal, or to the events that a pattern matches.

    A pattern is written as in a hook's event field in Perfsee, such as `"bundle:*,lab:*"`; it
    also takes in events that Perfsee adds later. `connect` goes to `Signal.connect` (`weak`,
    `dispatch_uid`, `sender`). A type checker holds that the receiver takes the signal's event.

    Raises:
        ValueError: the pattern names no event at all.
    """
    signal = signal_of(to) if isinstance(to, str) else to

    def decorate(receiver: Any) -> Any:
        signal.connect(receiver, **connect)
        return receiver

    return decorate


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedReceiver:
    """A receiver found for an event, with the label that its runs are recorded under."""

    label: str
    function: Callable[..., Any]
    signal: EventSignal[Event]


def receivers_of(event_type: str, sender: object) -> list[ConnectedReceiver]:
    """Return the receivers of an event in the order in which they are run, each of them once."""
    return _found(sender, lambda signal: signal.matches(event_type))


def connected_receivers(sender: object) -> list[ConnectedReceiver]:
    """Return every receiver of any event, each of them once."""
    return _found(sender, lambda _signal: True)


def named(receivers: Iterable[ConnectedReceiver], only: Collection[str]) -> list[ConnectedReceiver]:
    """Return the receivers that are named; all of them where none is."""
    return [receiver for receiver in receivers if not only or receiver.label in only]


def _found(sender: object, wanted: Callable[[EventSignal[Event]], bool]) -> list[ConnectedReceiver]:
    """Return the receivers of the wanted signals, each with the first of them that it is on.

    They are labelled among the receivers of all signals: so a number behind a name means the same
    one whatever the event is.
    """
    labelled: list[ConnectedReceiver] = []
    found: list[ConnectedReceiver] = []
    for signal in list(_signals.values()):
        is_wanted = wanted(signal)
        for function in signal.live_receivers(sender):
            receiver = _of(function, labelled)
            if receiver is None:
                label = _label(function, taken={known.label for known in labelled})
                receiver = ConnectedReceiver(label=label, function=function, signal=signal)
                labelled.append(receiver)
            if is_wanted and _of(function, found) is None:
                found.append(replace(receiver, signal=signal))
    return found


def _of(
    function: Callable[..., Any], receivers: Iterable[ConnectedReceiver]
) -> ConnectedReceiver | None:
    return next((receiver for receiver in receivers if receiver.function == function), None)


def _label(function: Callable[..., Any], taken: set[str]) -> str:
    """Return the dotted path of a receiver, numbered where several have the same."""
    path = path_of(function)
    label, number = one_line(path, MAX_LABEL_LENGTH), 1
    while label in taken:
        number += 1
        suffix = f"#{number}"
        label = one_line(path, MAX_LABEL_LENGTH - len(suffix)) + suffix
    return label


def path_of(function: Callable[..., Any]) -> str:
    """Return the dotted path of what is called, that of its type where it has no name itself."""
    wrapped = getattr(function, "func", function)  # of a functools.partial
    owner = wrapped if hasattr(wrapped, "__qualname__") else type(wrapped)
    return f"{owner.__module__ or 'builtins'}.{owner.__qualname__}"
