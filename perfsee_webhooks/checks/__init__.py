"""System checks: each mistake that the settings can hold, told at start-up with what to do."""

from .database import check_database
from .setting import check_settings

__all__ = ["check_database", "check_settings"]
