"""The routing app."""

from django.apps import AppConfig


class RoutingConfig(AppConfig):
    """Tables, decisions and the services that change them."""

    name = "routing"
    verbose_name = "Routing"
    default_auto_field = "django.db.models.BigAutoField"
