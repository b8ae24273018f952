"""What earlier runs of a delivery's receivers say about the ones to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from .models import Delivery, ReceiverRun, Replay, runs_of, runs_of_each
from .signals import ConnectedReceiver, named

Outcome = ReceiverRun.Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a replay knows of deliveries that it has opened, so that it need not be read for each.

    replay: the replay
    runs:   the runs of each until it was opened, by primary keys
    """

    replay: Replay
    runs: dict[int, list[ReceiverRun]]

    @classmethod
    def by(cls, replay: Replay, primary_keys: Sequence[int]) -> Opened:
        """Return what is known of deliveries that have been opened by a replay: one statement."""
        return cls(replay=replay, runs=runs_of_each(primary_keys))

    def runs_of(self, delivery: Delivery) -> list[ReceiverRun] | None:
        """Return the runs of a claimed delivery; None if it may have been run since it was opened.

        Each claim is an attempt, and only another replay has them counted from the start again.
        """
        is_first_claim = delivery.replay_id == self.replay.pk and delivery.attempts == 1
        return self.runs[delivery.pk] if is_first_claim else None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The runs of a delivery so far, oldest first, to which new ones are added as they end."""

    delivery: Delivery
    runs: list[ReceiverRun]

    @classmethod
    def of(cls, delivery: Delivery, opened: Opened | None = None) -> History:
        """Return the history of a delivery, without a query where all of it is known."""
        runs = opened.runs_of(delivery) if opened else None
        if runs is None:
            is_new = delivery.attempts == 1 and delivery.replay is None
            runs = [] if is_new else runs_of(delivery)
        return cls(delivery=delivery, runs=runs)

    def add(self, run: ReceiverRun) -> None:
        """Add a run that has ended."""
        self.runs.append(run)

    def chosen(self, receivers: list[ConnectedReceiver]) -> list[ConnectedReceiver]:
        """Return those that the replay names; all of them where it names none."""
        only = self.delivery.replay.only if self.delivery.replay else []
        return named(receivers, only)

    def pending(self, receivers: list[ConnectedReceiver]) -> list[ConnectedReceiver]:
        """Return those that have neither succeeded nor given up.

        One that was lost comes last: if it is what ends the process, the others come before it.
        """
        done = {run.receiver for run in self._counting if _is_done(run)}
        lost = [run.receiver for run in self.runs if run.outcome == Outcome.LOST]
        pending = [receiver for receiver in receivers if receiver.label not in done]
        return sorted(pending, key=lambda receiver: lost.count(receiver.label))

    def without_a_run(self, receivers: list[ConnectedReceiver]) -> list[ConnectedReceiver]:
        """Return those that have not been run at all."""
        run = {run.receiver for run in self._counting}
        return [receiver for receiver in receivers if receiver.label not in run]

    def unfinished(
        self, receivers: list[ConnectedReceiver], *, attempt: int
    ) -> list[ConnectedReceiver]:
        """Return the pending ones of which an attempt left no run, in the order of their turns."""
        ended = {run.receiver for run in self._of_this_replay if run.attempt == attempt}
        return [receiver for receiver in self.pending(receivers) if receiver.label not in ended]

    def lacks_only(self, receiver: ConnectedReceiver, receivers: list[ConnectedReceiver]) -> bool:
        """Say whether all has succeeded once this receiver has."""
        others = [other for other in receivers if other.label != receiver.label]
        return not self.failed(others) and not self.pending(self.chosen(others))

    def failed(self, receivers: list[ConnectedReceiver]) -> list[ReceiverRun]:
        """Return the last run of each of these receivers that has run and not succeeded."""
        last = {run.receiver: run for run in self._counting}
        runs = [last[receiver.label] for receiver in receivers if receiver.label in last]
        return [run for run in runs if run.outcome != Outcome.SUCCEEDED]

    def next_run(self, receiver: str) -> ReceiverRun:
        """Return the run of a receiver that is about to start."""
        replay = self.delivery.replay
        return ReceiverRun(
            delivery=self.delivery,
            receiver=receiver,
            number=1
            + max((run.number for run in self.runs if run.receiver == receiver), default=0),
            attempt=self.delivery.attempts,
            trigger=self._trigger,
            started_at=timezone.now(),
            replay=replay,
            requested_by=replay.requested_by if replay else "",
        )

    @property
    def _trigger(self) -> ReceiverRun.Trigger:
        if self.delivery.attempts > 1:
            return ReceiverRun.Trigger.RETRY
        if self.delivery.replay is not None:
            return ReceiverRun.Trigger.REPLAY
        return ReceiverRun.Trigger.FIRST

    @property
    def _of_this_replay(self) -> list[ReceiverRun]:
        return [run for run in self.runs if run.replay_id == self.delivery.replay_id]

    @property
    def _counting(self) -> list[ReceiverRun]:
        """The runs that count: to a replay of all receivers only its own.

        To any other replay it counts if a receiver's last run succeeded, but not that it had
        given up. Of a receiver that it does not run, the last run counts as it is.
        """
        replay = self.delivery.replay
        if replay is None:
            return self.runs
        mine = self._of_this_replay
        last = {run.receiver: run for run in self.runs if run not in mine}
        others = [run for run in last.values() if replay.only and run.receiver not in replay.only]
        if replay.receivers == Replay.Receivers.ALL:
            return others + mine
        succeeded = [run for run in last.values() if run.outcome == Outcome.SUCCEEDED]
        return [*others, *(run for run in succeeded if run not in others), *mine]


def _is_done(run: ReceiverRun) -> bool:
    return run.outcome == Outcome.SUCCEEDED or run.gave_up
