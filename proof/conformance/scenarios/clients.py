"""Clients that are slow, that give up, and that go away."""

from __future__ import annotations

import time

from .. import sender
from ..trial import Trial
from .scenario import scenario, scenario_at_hand

# How long a receiver has for reading what was sent, before something happens to the connection.
READ_SECONDS = 0.1


@scenario
def a_slow_client(trial: Trial) -> None:
    """A body that comes in pieces is accepted, and holds up nobody meanwhile."""
    slow_id, quick_id, body = trial.new_id(), trial.new_id(), trial.sample()
    request = trial.request(body, slow_id)
    with sender.connect(trial.receiver.url, timeout_seconds=5) as connection:
        connection.sendall(request[:-300])
        time.sleep(READ_SECONDS)
        connection.sendall(request[-300:-100])
        quick = trial.send(body, quick_id, timeout_seconds=3)
        connection.sendall(request[-100:])
        slow = sender.Answer(status=sender.status_from(connection))
    trial.accepts(quick, "a client beside a slow one")
    trial.accepts(slow, "a slow client")
    for delivery_id in (slow_id, quick_id):
        trial.keeps(delivery_id, body)
        trial.does(delivery_id)


@scenario
def a_client_that_is_silent(trial: Trial) -> None:
    """A connection on which nothing comes holds up nobody."""
    with sender.connect(trial.receiver.url):
        time.sleep(READ_SECONDS)
        trial.accepts(
            trial.send(trial.sample(), trial.new_id(), timeout_seconds=3), "who does send"
        )


@scenario_at_hand
def the_client_goes_away_before_the_answer(trial: Trial) -> None:
    """A delivery whose sender was reset comes again, and is kept and done once in the end."""
    delivery_id, body = trial.new_id(), trial.sample()
    with trial.control.database_away():
        connection = sender.connect(trial.receiver.url)
        connection.sendall(trial.request(body, delivery_id))
        time.sleep(READ_SECONDS)
        sender.go_away(connection)
    time.sleep(READ_SECONDS)
    trial.accepts(trial.send(body, delivery_id), "the delivery again")
    trial.keeps(delivery_id, body)
    trial.does(delivery_id)


@scenario_at_hand
def timeout_and_retry(trial: Trial) -> None:
    """A sender that got no answer in time sends again, at once; it is kept and done once."""
    delivery_id, body = trial.new_id(), trial.sample()
    with trial.control.database_away():
        for _time in range(2):
            trial.send(body, delivery_id, timeout_seconds=READ_SECONDS)
    trial.accepts(trial.send(body, delivery_id), "the last retry")
    trial.keeps(delivery_id, body)
    trial.does(delivery_id)
