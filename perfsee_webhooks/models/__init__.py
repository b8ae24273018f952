"""The tables: deliveries, the runs of their receivers, what was refused, and the replays."""

from .delivery import Delivery
from .queries import DeliveryQuerySet
from .rejection import Rejection
from .replay import Replay
from .run import ReceiverRun

__all__ = ["Delivery", "DeliveryQuerySet", "ReceiverRun", "Rejection", "Replay"]
