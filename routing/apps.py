"""The routing app."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """Tables, decisions and the services that change them."""

    name = "routing"
    verbose_name = "Routing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from routing.checks import register_checks  # noqa: PLC0415 - models are loaded only now

        register_checks()
