"""The tables: deliveries, the runs of their receivers, what was refused, and the replays."""

from .arrivals import Arrival
from .delivery import Delivery
from .heartbeat import Heartbeat
from .queries import DeliveryQuerySet
from .rejection import Rejection
from .replay import Replay
from .run import ReceiverRun, runs_of, runs_of_each

__all__ = [
    "Arrival",
    "Delivery",
    "DeliveryQuerySet",
    "Heartbeat",
    "ReceiverRun",
    "Rejection",
    "Replay",
    "runs_of",
    "runs_of_each",
]
