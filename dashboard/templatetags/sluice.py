"""Small words for the templates: icons, ages, durations."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard import words
from dashboard.words import Mark
from routing.summary import value_text

register = template.Library()
register.filter("ms", words.milliseconds)
register.filter("percent", words.percent)
register.filter("money", words.money)
register.filter("value_text", value_text)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite in the base template; with a label it speaks for itself."""
    if label:
        return format_html(
            '<svg class="i i-{0}" role="img" aria-label="{1}"><use href="#i-{0}"></use></svg>', name, label
        )
    return format_html('<svg class="i i-{0}" aria-hidden="true"><use href="#i-{0}"></use></svg>', name)


@register.simple_tag
def mark(found: Mark) -> SafeString:
    """A state: icon, word and colour."""
    return format_html(
        '<span class="mark {}">{}<span>{}</span></span>', found.tone, icon(found.icon), found.word
    )


@register.simple_tag
def ago(at: float | datetime | None, now: float | None = None, *, suffix: str = "") -> SafeString:
    """How long ago, kept up to date by the page's script; unknown is ``–``."""
    instant = words.moment(at) if isinstance(at, int | float) else at
    if instant is None:
        return SafeString("–")
    seconds = (now if now is not None else datetime.now(UTC).timestamp()) - instant.timestamp()
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>{}',
        instant.isoformat(),
        f"{instant:%Y-%m-%d %H:%M:%S} UTC",
        words.duration(seconds),
        suffix,
    )


@register.simple_tag
def until(at: float | None, now: float) -> SafeString:
    """How long from now, counted down by the page's script."""
    instant = words.moment(at)
    if instant is None:
        return SafeString("")
    return format_html(
        '<time datetime="{}" title="{}" data-until>{}</time>',
        instant.isoformat(),
        f"{instant:%Y-%m-%d %H:%M:%S} UTC",
        words.duration((at or 0.0) - now),
    )


@register.filter
def instant(at: float | None) -> str:
    """Unix seconds as ``Mon 09:00`` or, further away, a date; UTC."""
    found = words.moment(at)
    if found is None:
        return "–"
    near = abs((found - datetime.now(UTC)).total_seconds()) < 6 * 86_400
    return f"{found:%a %H:%M}" if near else f"{found:%Y-%m-%d %H:%M}"


@register.filter
def dom_id(key: str) -> str:
    """An id for an element about the object with this key."""
    return "k" + hashlib.sha256(key.encode()).hexdigest()[:12]


@register.filter
def lookup(mapping: Any, key: Any) -> Any:
    """The value of a key that is only known in the template."""
    return mapping.get(key)
