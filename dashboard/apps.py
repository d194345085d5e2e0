"""The dashboard app."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Operator pages over the routing queries."""

    name = "dashboard"
    verbose_name = "Dashboard"
