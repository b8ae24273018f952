"""Run stored deliveries again: the one door for admin, API and commands.

`Selection` says which deliveries and `Order` to which receivers and how fast; `plan` shows on the
real rows what that would do; `start` records it, `open_batch` carries it out a batch at a time;
`rehearse` runs one delivery's receivers and takes it all back.
"""

from ..selection import Selection
from .carrying import carry_on, carry_out, is_stalled, open_batch, schedule, take_up, total_of
from .order import BATCH_SIZE, MAX_BATCH_SIZE, MAX_LOOKED_AT, Order, UnknownReceiver, start
from .plan import Plan, PlannedReceiver, plan
from .rehearsal import Rehearsal, RehearsedRun, rehearse, succeeded_on

__all__ = [
    "BATCH_SIZE",
    "MAX_BATCH_SIZE",
    "MAX_LOOKED_AT",
    "Order",
    "Plan",
    "PlannedReceiver",
    "Rehearsal",
    "RehearsedRun",
    "Selection",
    "UnknownReceiver",
    "carry_on",
    "carry_out",
    "is_stalled",
    "open_batch",
    "plan",
    "rehearse",
    "schedule",
    "start",
    "succeeded_on",
    "take_up",
    "total_of",
]
