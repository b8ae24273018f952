"""System checks: each mistake that the settings can hold, told at start-up with what to do."""

from .database import check_database
from .server import check_server
from .setting import check_settings
from .site import check_site, check_site_in_production
from .sweeping import check_sweep

__all__ = [
    "check_database",
    "check_server",
    "check_settings",
    "check_site",
    "check_site_in_production",
    "check_sweep",
]
