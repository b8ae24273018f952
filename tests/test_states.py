"""Takes deliveries through their states in any order, beside a model of what must come out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.exceptions import LeaseLost
from perfsee_webhooks.models import Delivery, Replay
from perfsee_webhooks.models.queries import DeliveryState as State
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

from .sites import SECRET

WAITING = (State.RECEIVED, State.FAILED)
HOUR = timedelta(hours=1)

SETTLING: dict[State, Callable[[Delivery], None]] = {
    State.SUCCEEDED: Delivery.succeed,
    State.UNHANDLED: Delivery.go_unhandled,
    State.DEAD: Delivery.die,
    State.FAILED: lambda delivery: delivery.fail(next_attempt_at=timezone.now() + HOUR),
}


class DeliveryMachine(RuleBasedStateMachine):
    """One delivery, the processes that hold or held it, and what is expected of it."""

    @initialize()
    def receive(self) -> None:
        body = sample_body("bundle:finished")
        headers = perfsee_headers(body, SECRET)
        primary_key = Delivery.objects.record(Envelope.read(body, headers, "SECRETS[0]"))
        assert primary_key is not None
        self.primary_key = primary_key
        self.state = State.RECEIVED
        self.is_due = True
        self.lease_has_run_out = False
        self.attempts = 0
        self.holder: Delivery | None = None
        self.former_holders: list[Delivery] = []

    def teardown(self) -> None:
        Delivery.objects.all().delete()
        Replay.objects.all().delete()

    @property
    def row(self) -> Delivery:
        return Delivery.objects.get(pk=self.primary_key)

    @rule()
    def claim(self) -> None:
        may_be_claimed = (self.state in WAITING and self.is_due) or (
            self.state == State.PROCESSING and self.lease_has_run_out
        )
        taken = Delivery.objects.claim(self.primary_key)
        assert (taken is not None) == may_be_claimed
        if taken is None:
            return
        was_abandoned = self.state == State.PROCESSING
        assert taken.lost_attempt == (self.attempts if was_abandoned else None)
        self._release()
        self.state, self.holder = State.PROCESSING, taken
        self.attempts += 1

    @rule(state=st.sampled_from(sorted(SETTLING)))
    def settle(self, state: State) -> None:
        if self.holder is None:
            return
        SETTLING[state](self.holder)
        self._release()
        self.state, self.is_due = state, False

    @precondition(lambda self: self.former_holders)
    @rule(state=st.sampled_from(sorted(SETTLING)), which=st.integers(min_value=0))
    def settle_without_the_lease(self, state: State, which: int) -> None:
        former = self.former_holders[which % len(self.former_holders)]
        with pytest.raises(LeaseLost):
            SETTLING[state](former)
        with pytest.raises(LeaseLost):
            former.renew_lease()

    @rule()
    def renew(self) -> None:
        if self.holder is not None:
            self.holder.renew_lease()
            self.lease_has_run_out = False

    @rule()
    def let_the_lease_run_out(self) -> None:
        if self.holder is not None:
            Delivery.objects.update(lease_expires_at=timezone.now() - HOUR)
            self.lease_has_run_out = True

    @rule()
    def let_time_pass(self) -> None:
        Delivery.objects.filter(state=State.FAILED).update(next_attempt_at=timezone.now())
        self.is_due = self.is_due or self.state == State.FAILED

    @rule()
    def replay(self) -> None:
        is_running = self.state == State.PROCESSING and not self.lease_has_run_out
        opened = Delivery.objects.all().reopen(Replay.objects.create(requested_by="somebody"))
        assert opened == (0 if is_running else 1)
        if opened:
            self._release()
            self.state, self.is_due, self.attempts = State.RECEIVED, True, 0

    def _release(self) -> None:
        if self.holder is not None:
            self.former_holders.append(self.holder)
        self.holder, self.lease_has_run_out = None, False

    @invariant()
    def row_is_as_expected(self) -> None:
        if not hasattr(self, "state"):
            return
        row = self.row
        assert row.state == self.state
        assert row.attempts == self.attempts
        assert (row.lease_token is not None) == (self.state == State.PROCESSING)
        assert (row.lease_expires_at is not None) == (self.state == State.PROCESSING)
        assert (row.next_attempt_at is not None) == (self.state in WAITING)
        is_settled = self.state in (State.SUCCEEDED, State.DEAD, State.UNHANDLED)
        assert (row.settled_at is not None) == is_settled


@pytest.mark.django_db
def test_states__hold_whatever_happens_in_whatever_order():
    run_state_machine_as_test(
        DeliveryMachine,
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None),
    )
