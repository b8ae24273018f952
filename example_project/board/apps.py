"""The board's configuration."""

from django.apps import AppConfig


class BoardConfig(AppConfig):
    """Connects the receivers when the site starts."""

    name = "example_project.board"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the receivers, which connects them."""
        from . import alerts, receivers  # noqa: F401  # imported for what they connect
