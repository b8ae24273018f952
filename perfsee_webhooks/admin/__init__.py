"""The admin: browse deliveries and what was refused, and replay."""

from .delivery import DeliveryAdmin
from .rejection import RejectionAdmin
from .replay import ReplayAdmin

__all__ = ["DeliveryAdmin", "RejectionAdmin", "ReplayAdmin"]
