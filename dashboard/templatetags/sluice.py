"""Small words for the templates: icons, ages, durations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from html import escape
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
@cache
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite in the base template; with a label it speaks for itself."""
    if label:
        return format_html(
            '<svg class="i i-{0}" role="img" aria-label="{1}"><use href="#i-{0}"></use></svg>', name, label
        )
    return format_html('<svg class="i i-{0}" aria-hidden="true"><use href="#i-{0}"></use></svg>', name)


@register.simple_tag
@cache
def mark(found: Mark) -> SafeString:
    """A state: icon, word and colour."""
    return format_html(
        '<span class="mark {}">{}<span>{}</span></span>', found.tone, icon(found.icon), found.word
    )


@register.simple_tag(takes_context=True)
def switch_control(context: Mapping[str, Any], control: Any) -> SafeString:
    """The switch of a ``SwitchView``; disabling asks first, enabling is one press.

    A page has hundreds, and a template takes ten times as long. The key's names are percent-encoded.
    """
    verb, form, method = ("off", "ask", "get") if control.on else ("on", "act", "post")
    name, value, url = escape(control.name), escape(f"{verb}:{control.key}"), context["switch_url"]
    if context["may_operate"]:
        title = f"Disable {name}…" if control.on else f"Enable {name}"
        does = (
            f'title="{title}" hx-{method}="{url}" hx-target="#dialog" hx-swap="innerHTML" '
            f'hx-sync="this:drop" hx-vals=\'{{"switch": "{value}", "seen": "{context["seen"]}"}}\''
        )
    else:
        does = f'disabled title="{escape(context["why_not"])}"'
    return SafeString(
        f'<button class="switch" role="switch" aria-checked="{str(control.on).lower()}" type="submit" '
        f'form="{form}" name="switch" value="{value}" aria-label="{name}" {does}>'
        '<span class="knob"></span></button>'
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
