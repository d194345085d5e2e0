"""Which installation a page belongs to, so that nobody takes production for another."""

from __future__ import annotations

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def environment() -> SafeString:
    """The label of ``GATEWAY_ENVIRONMENT``; nothing without one."""
    name: str = settings.GATEWAY_ENVIRONMENT
    if not name:
        return SafeString("")
    css = "env env-production" if name.lower().startswith(("prod", "live")) else "env"
    return format_html(
        '<span class="{}" title="Environment: {}"><span class="env-what">env: </span>{}</span>',
        css,
        name,
        name,
    )
