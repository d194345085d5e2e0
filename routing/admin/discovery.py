"""Model discovery from the pages of providers: each outcome is a message on the page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from routing import probes
from routing.models import Provider
from routing.types import DiscoveryState

_LEVELS: Final = {DiscoveryState.OK: messages.SUCCESS, DiscoveryState.FAILED: messages.ERROR}


@admin.action(description="Discover the models of the selected…", permissions=["change"])
def discover_models(
    page: admin.ModelAdmin[Provider], request: HttpRequest, queryset: QuerySet[Provider]
) -> None:
    """Ask now, and keep what they say."""
    ask_and_tell(request, queryset, keep=True)


@admin.action(description="Test the connection of the selected…", permissions=["change"])
def check_connections(
    page: admin.ModelAdmin[Provider], request: HttpRequest, queryset: QuerySet[Provider]
) -> None:
    """Ask now, and keep nothing."""
    ask_and_tell(request, queryset, keep=False)


def ask_and_tell(request: HttpRequest, queryset: QuerySet[Provider], *, keep: bool) -> None:
    """Ask now; one message for each provider."""
    _tell(request, _asked(request, queryset, keep=keep))


def _asked(request: HttpRequest, queryset: QuerySet[Provider], *, keep: bool) -> list[probes.Probe]:
    names = sorted(queryset.values_list("name", flat=True))
    try:
        return probes.discover(names) if keep else probes.check_connections(names)
    except probes.UnknownProviderError as error:
        messages.error(request, str(error))
        return []


def _tell(request: HttpRequest, found: Iterable[probes.Probe]) -> None:
    for probe in found:
        level = messages.WARNING if probe.result is None else _LEVELS.get(probe.result.state, messages.INFO)
        messages.add_message(request, level, f"Provider {probe.provider.name}: {probe.message}")
