"""The app's configuration."""

from django.apps import AppConfig
from django.core import checks


class PerfseeWebhooksConfig(AppConfig):
    """Registers the system checks, and nothing else."""

    name = "perfsee_webhooks"
    verbose_name = "Perfsee webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from .checks import check_database, check_settings

        checks.register(check_settings, "perfsee_webhooks")
        checks.register(check_database, "perfsee_webhooks")
