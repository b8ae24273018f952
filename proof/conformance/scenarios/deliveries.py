"""A delivery, and the same one again: one event is stored once and done once."""

from __future__ import annotations

from .. import sender
from ..trial import EVENTS, GUESSED, Trial
from .scenario import scenario

COPIES = 16


@scenario
def a_new_delivery(trial: Trial) -> None:
    """Each of the four events is answered 2xx, kept byte for byte, and done once."""
    for event_type in EVENTS:
        delivery_id, body = trial.new_id(), trial.sample(event_type)
        trial.accepts(trial.send(body, delivery_id), event_type)
        trial.keeps(delivery_id, body, event_type)
        trial.does(delivery_id)


@scenario
def many_at_once(trial: Trial) -> None:
    """Different deliveries at once are each answered 2xx, kept byte for byte, and done once."""
    bodies = {trial.new_id(): trial.sample(event) for event in [*EVENTS] * (COPIES // len(EVENTS))}
    answers = trial.send_at_once(
        trial.request(body, delivery_id) for delivery_id, body in bodies.items()
    )
    for answer, (delivery_id, body) in zip(answers, bodies.items(), strict=True):
        trial.accepts(answer, "one of many at once")
        trial.keeps(delivery_id, body)
        trial.does(delivery_id)


@scenario
def repeated_in_sequence(trial: Trial) -> None:
    """The same request again is answered 2xx, and nothing is done again."""
    delivery_id, body = trial.new_id(), trial.sample()
    for _time in range(3):
        trial.accepts(trial.send(body, delivery_id), "a repeat")
        trial.does(delivery_id)
    trial.keeps(delivery_id, body)


@scenario
def repeated_at_once(trial: Trial) -> None:
    """Copies that arrive at once are all answered 2xx, and make one row and one run."""
    delivery_id, body = trial.new_id(), trial.sample()
    for answer in trial.send_at_once([trial.request(body, delivery_id)] * COPIES):
        trial.accepts(answer, "one of the copies")
    trial.keeps(delivery_id, body)
    trial.does(delivery_id)


@scenario
def the_same_id_with_another_body(trial: Trial) -> None:
    """A signed body under a known id is refused with a 4xx, and the first one stays."""
    delivery_id, body = trial.new_id(), trial.sample()
    trial.accepts(trial.send(body, delivery_id))
    trial.refuses(
        trial.send(trial.sample("source:finished"), delivery_id), "a known id's second body"
    )
    trial.keeps(delivery_id, body, "bundle:finished")
    trial.does(delivery_id)


@scenario
def the_same_body_under_another_id(trial: Trial) -> None:
    """The id tells a repeat, not the body: two events may say the same."""
    for delivery_id in (trial.new_id(), trial.new_id()):
        trial.accepts(trial.send(trial.sample(), delivery_id))
        trial.keeps(delivery_id, trial.sample())
        trial.does(delivery_id)


@scenario
def two_hooks_with_one_id(trial: Trial) -> None:
    """An event that comes by two hooks, each with its secret, is one delivery and done once."""
    delivery_id, body = trial.new_id(), trial.sample("lab:snapshot-completed")
    for hook_id, secret in zip(("1", "2"), trial.receiver.secrets * 2, strict=False):
        answer = trial.send(body, delivery_id, secret=secret, headers={sender.HOOK_ID: hook_id})
        trial.accepts(answer, f"hook {hook_id}")
    trial.keeps(delivery_id, body)
    trial.does(delivery_id)


@scenario
def a_stranger_repeats_a_known_id(trial: Trial) -> None:
    """A known id is no proof: with a wrong signature it is refused like any other."""
    delivery_id, body = trial.new_id(), trial.sample()
    trial.accepts(trial.send(body, delivery_id))
    trial.refuses(trial.send(body, delivery_id, secret=GUESSED), "a forged repeat")
    trial.keeps(delivery_id, body)
    trial.does(delivery_id)


@scenario
def a_stranger_comes_first(trial: Trial) -> None:
    """An id that a stranger has used before is still new when Perfsee sends it."""
    delivery_id, body = trial.new_id(), trial.sample()
    trial.refuses(trial.send(body, delivery_id, secret=GUESSED), "a forged delivery")
    trial.accepts(trial.send(body, delivery_id), "the real one")
    trial.keeps(delivery_id, body)
    trial.does(delivery_id)
