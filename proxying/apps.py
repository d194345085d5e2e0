"""The proxying app."""

from django.apps import AppConfig


class ProxyingConfig(AppConfig):
    """The client-facing endpoints, the upstream adapters and the request records."""

    name = "proxying"
    verbose_name = "Requests"
    default_auto_field = "django.db.models.BigAutoField"
