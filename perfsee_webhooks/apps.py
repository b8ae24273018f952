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
        from . import checks as own

        for check in (own.check_settings, own.check_database, own.check_site):
            checks.register(check, "perfsee_webhooks")
        checks.register(own.check_server, "perfsee_webhooks", checks.Tags.database)
        for check in (own.check_site_in_production, own.check_sweep):
            checks.register(check, "perfsee_webhooks", deploy=True)
