"""What is acknowledged is kept and done, whatever fails, and nothing is done twice."""

from __future__ import annotations

from .. import effects
from ..sender import UNANSWERED
from ..trial import Trial, Violation
from .scenario import scenario_at_hand


@scenario_at_hand
def a_slow_receiver(trial: Trial) -> None:
    """The answer does not wait for what is to be done."""
    delivery_id = trial.new_id(effects.SLOW)
    answer = trial.send(trial.sample(), delivery_id)
    done = trial.control.effects(delivery_id)
    effects.let_go(delivery_id, trial.control.folder)
    trial.accepts(answer, "a delivery that takes long")
    if done[effects.MOODY]:
        raise Violation("the answer first", "that all was done before it")
    trial.keeps(delivery_id, trial.sample())
    trial.does(delivery_id)


@scenario_at_hand
def a_failing_receiver(trial: Trial) -> None:
    """What fails once is done again until it is done, and what went well is not done twice."""
    delivery_id = trial.new_id(effects.FAILING)
    trial.accepts(trial.send(trial.sample(), delivery_id), "a delivery on which something fails")
    trial.keeps(delivery_id, trial.sample())
    trial.does(delivery_id)


@scenario_at_hand
def a_receiver_that_fails_for_good(trial: Trial) -> None:
    """What never goes well keeps nothing else from being done, once."""
    delivery_id = trial.new_id(effects.BROKEN)
    trial.accepts(
        trial.send(trial.sample(), delivery_id), "a delivery on which something always fails"
    )
    trial.keeps(delivery_id, trial.sample())
    trial.does(delivery_id, moody=0)
    trial.works_still()


@scenario_at_hand
def a_receiver_that_exits_the_process(trial: Trial) -> None:
    """A process that ends in the midst of it loses nothing: another one does it.

    It may end before the answer is out; then Perfsee sends again, at most twice.
    """
    delivery_id = trial.new_id(effects.EXITING)
    answer = trial.send(trial.sample(), delivery_id)
    for _time in range(2):
        if answer.status == UNANSWERED:
            trial.control.revive()
            answer = trial.send(trial.sample(), delivery_id)
    trial.accepts(answer, "a delivery that ends the process")
    trial.keeps(delivery_id, trial.sample())
    trial.does(delivery_id)
    trial.control.revive()
    trial.works_still()


@scenario_at_hand
def a_restart_between(trial: Trial) -> None:
    """What is acknowledged survives SIGKILL right after the answer, and is known afterwards."""
    waiting_id, done_id, body = trial.new_id(effects.SLOW), trial.new_id(), trial.sample()
    trial.accepts(trial.send(body, done_id))
    trial.does(done_id)
    trial.accepts(trial.send(body, waiting_id))
    trial.control.kill()
    effects.let_go(waiting_id, trial.control.folder)
    trial.control.start()
    for delivery_id in (waiting_id, done_id):
        trial.keeps(delivery_id, body)
        trial.does(delivery_id)
        trial.accepts(trial.send(body, delivery_id), "a repeat after the restart")
        trial.does(delivery_id)


@scenario_at_hand
def the_database_is_away(trial: Trial) -> None:
    """Meanwhile the answer is no 2xx, or the delivery is there afterwards all the same."""
    delivery_id = trial.new_id()
    with trial.control.database_away():
        answer = trial.send(trial.sample(), delivery_id)
    _is_honest(trial, delivery_id, answer.status)
    trial.works_still()


@scenario_at_hand
def the_database_is_away_and_the_process_is_killed(trial: Trial) -> None:
    """A 2xx that was given without the database holds even if the process ends at once."""
    delivery_id = trial.new_id()
    with trial.control.database_away():
        answer = trial.send(trial.sample(), delivery_id)
        trial.control.kill()
    trial.control.start()
    _is_honest(trial, delivery_id, answer.status)
    trial.works_still()


def _is_honest(trial: Trial, delivery_id: str, status: int) -> None:
    if 200 <= status < 300:
        trial.keeps(delivery_id, trial.sample())
        trial.does(delivery_id)
    elif not 500 <= status < 600:
        raise Violation("a 2xx or a 5xx", f"an answer of {status}" if status else "no answer")
