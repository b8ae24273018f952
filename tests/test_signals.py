from __future__ import annotations

import functools
import gc
from typing import Any
from unittest.mock import create_autospec

import django.dispatch
import pytest

from perfsee_webhooks import events, signals
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.signals import EventSignal, receive, receivers_of, signal_of

from .conftest import documented_receiver

pytestmark = pytest.mark.usefixtures("no_receivers")

OF_ONE_EVENT = {
    events.BUNDLE_FINISHED: signals.bundle_finished,
    events.LAB_SNAPSHOT_COMPLETED: signals.lab_snapshot_completed,
    events.LAB_SNAPSHOT_REPORT_COMPLETED: signals.lab_snapshot_report_completed,
    events.SOURCE_FINISHED: signals.source_finished,
}


class CallableObject:
    def __call__(self, sender, delivery, event, **kwargs):
        """Take what a receiver takes."""

    def method(self, sender, delivery, event, **kwargs):
        """Take what a receiver takes."""


async def async_receiver(sender, delivery, event, **kwargs):
    """Take what a receiver takes."""


def functions_of(event_type: str = events.BUNDLE_FINISHED, sender: object = Delivery) -> list[Any]:
    return [receiver.function for receiver in receivers_of(event_type, sender)]


def labels_of(event_type: str = events.BUNDLE_FINISHED) -> list[str]:
    return [receiver.label for receiver in receivers_of(event_type, Delivery)]


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_signals__each_event_has_its_own(connect, event_type):
    of_one = {name: connect(signal, name=name) for name, signal in OF_ONE_EVENT.items()}
    of_all = connect(signals.delivery_received, name="all")
    assert functions_of(event_type) == [of_one[event_type], of_all]


@pytest.mark.parametrize("event_type", ["bundle:started", events.UNKNOWN, ""])
def test_signals__unknown_event_goes_to_delivery_received_alone(connect, event_type):
    for signal in OF_ONE_EVENT.values():
        connect(signal)
    of_all = connect(signals.delivery_received)
    assert functions_of(event_type) == [of_all]


def test_event_signal__repr_names_the_pattern():
    assert repr(EventSignal("bundle:*")) == "<EventSignal 'bundle:*'>"


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*", events.KNOWN),
        ("bundle:*", events.KNOWN[:1]),
        ("bundle:*,lab:*", events.KNOWN[:3]),
        (" bundle:finished , source:finished ", (events.KNOWN[0], events.KNOWN[3])),
        ("bundle-finished", events.KNOWN[:1]),
        ("lab:snapshot-*completed", events.KNOWN[1:3]),
        ("lab.*", ()),
        ("bundle:start", ()),
    ],
)
def test_receive__events_that_the_pattern_matches(pattern, matching):
    receiver = create_autospec(documented_receiver)
    assert receive(pattern, weak=False)(receiver) is receiver
    assert tuple(name for name in events.KNOWN if functions_of(name) == [receiver]) == matching


def test_receive__signal():
    receiver = create_autospec(documented_receiver)
    assert receive(signals.bundle_finished, weak=False)(receiver) is receiver
    assert functions_of(events.BUNDLE_FINISHED) == [receiver]
    assert functions_of(events.SOURCE_FINISHED) == []


def test_receive__as_with_any_signal_of_django():
    receiver = create_autospec(documented_receiver)
    django.dispatch.receiver(signals.bundle_finished, weak=False)(receiver)
    signals.source_finished.connect(receiver, Delivery, False, "once")
    assert functions_of(events.BUNDLE_FINISHED) == [receiver]
    assert functions_of(events.SOURCE_FINISHED) == [receiver]


def test_signal_of__one_for_each_pattern():
    assert signal_of(events.BUNDLE_FINISHED) is signals.bundle_finished
    assert signal_of("bundle:*") is signal_of("bundle:*") is not signal_of("*:finished")


def test_receive__metacharacters_are_literal():
    name = r"abc.?!\()"
    receiver = receive(name, weak=False)(create_autospec(documented_receiver))
    receive("abc.+", weak=False)(create_autospec(documented_receiver))
    assert functions_of(name) == [receiver]
    assert functions_of("abcd") == []


@pytest.mark.parametrize("pattern", ["", " , "])
def test_receive__pattern_that_names_no_event(pattern):
    with pytest.raises(ValueError, match="names no event"):
        receive(pattern)


def test_receive__passes_on_what_connect_takes():
    first, second = (create_autospec(documented_receiver) for _ in range(2))
    for receiver in (first, second):
        receive("bundle:*", weak=False, dispatch_uid="once", sender=Delivery)(receiver)
    assert functions_of() == [first]
    assert functions_of(sender=object()) == []


def test_receivers_of__connected_to_two_matching_signals_is_found_once(connect):
    receiver = connect(signals.bundle_finished)
    signals.delivery_received.connect(receiver, weak=False)
    receive("bundle:*", weak=False)(receiver)
    [found] = receivers_of(events.BUNDLE_FINISHED, Delivery)
    assert (found.function, found.label) == (receiver, "tests.receiver")
    assert found.signal is signals.bundle_finished


def test_receivers_of__bound_method_is_found_once():
    owner = CallableObject()
    for signal in (signals.bundle_finished, signals.delivery_received):
        signal.connect(owner.method)
    assert functions_of() == [owner.method]


@pytest.mark.parametrize("signal", [signals.delivery_received, signals.bundle_finished])
def test_receivers_of__in_the_order_in_which_they_were_connected(connect, signal):
    receivers = [connect(signal, name=f"receiver_{number}") for number in range(5)]
    assert functions_of() == receivers


def test_receivers_of__one_dotted_path_is_numbered(connect):
    for _ in range(3):
        connect(name="x")
    assert labels_of() == ["tests.x", "tests.x#2", "tests.x#3"]


@pytest.mark.parametrize(
    ("receiver", "label"),
    [
        (documented_receiver, "tests.conftest.documented_receiver"),
        (CallableObject(), "tests.test_signals.CallableObject"),
        (CallableObject().method, "tests.test_signals.CallableObject.method"),
    ],
    ids=["function", "object", "method"],
)
def test_receivers_of__label_is_the_dotted_path(receiver, label):
    signals.delivery_received.connect(receiver, weak=False)
    assert labels_of() == [label]


def test_receivers_of__label_fits_its_column(connect):
    for _ in range(2):
        connect(name="x" * 300)
    labels = labels_of()
    assert len(set(labels)) == 2
    assert max(map(len, labels)) <= signals.MAX_LABEL_LENGTH


def test_receivers_of__weak_reference_goes_with_its_receiver():
    def local(sender, delivery, event, **kwargs):
        """Take what a receiver takes."""

    signals.bundle_finished.connect(local)
    receive("bundle:*")(local)
    assert functions_of() == [local]
    del local
    gc.collect()
    assert functions_of() == []


def test_receivers_of__sender_is_a_filter(connect):
    of_any = connect()
    of_another = create_autospec(documented_receiver)
    signals.delivery_received.connect(of_another, sender=CallableObject, weak=False)
    assert functions_of(sender=Delivery) == [of_any]
    assert functions_of(sender=CallableObject) == [of_any, of_another]


def test_receivers_of__disconnected_is_not_found(connect):
    receiver = connect()
    assert signals.delivery_received.disconnect(receiver)
    assert functions_of() == []


@pytest.mark.parametrize(
    "receiver",
    [documented_receiver, async_receiver, functools.partial(async_receiver)],
    ids=["plain", "async", "partial of an async one"],
)
def test_receivers_of__finds_sync_and_async_receivers(receiver):
    signals.delivery_received.connect(receiver, weak=False)
    assert functions_of() == [receiver]


def test_receivers_of__event_type_is_all_that_is_matched(connect):
    connect(signals.bundle_finished)
    assert functions_of("my-bundle:finished") == functions_of("bundle:finished-late") == []
