"""States as small pieces of HTML: an icon, a word and a class that the stylesheet colours. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routing.models import ModelPool, PoolCandidate, Provider
from routing.shapes import Shape

NOTHING: Final = "–"
_ICONS: Final = {"ok": "✔", "warn": "▲", "bad": "✖", "off": "■", "idle": "○"}
_WORDS: Final = {
    "healthy": ("ok", "Healthy"),
    "degraded": ("warn", "Degraded"),
    "unhealthy": ("bad", "Unhealthy"),
    "disabled": ("off", "Disabled"),
    "enabled": ("ok", "OK"),
    "unavailable": ("bad", "Unavailable"),
    "disabled_manual": ("off", "Disabled"),
    "disabled_effective": ("off", "Pool disabled"),
    "missing_model": ("bad", "Missing model"),
    "unhealthy_runtime": ("bad", "Unhealthy"),
    "ineligible": ("bad", "Ineligible"),
    "degraded_runtime": ("warn", "Degraded"),
    "open": ("bad", "Open"),
    "half_open": ("warn", "Half-open"),
    "trial": ("warn", "On trial"),
    "trial_in_flight": ("warn", "On trial"),
    "cooling_down": ("warn", "Cooling down"),
}


def mark(status: str) -> SafeString:
    """One word for a status of the admin API, with icon and tone."""
    tone, word = _WORDS.get(status, ("idle", status.replace("_", " ").capitalize()))
    return toned(tone, word)


def toned(tone: str, word: str) -> SafeString:
    """A word with the icon of its tone: ``ok warn bad off idle``."""
    icon = _ICONS[tone]
    return format_html(
        '<span class="mark mark-{}"><span aria-hidden="true">{}</span> {}</span>', tone, icon, word
    )


def unusable(problem: str) -> SafeString:
    """A row that the table leaves out."""
    return format_html('{}<div class="why">{}</div>', toned("bad", "Not usable"), problem)


def lines(texts: Iterable[Any], css: str = "why") -> SafeString:
    """One line each."""
    return format_html_join("", '<div class="{}">{}</div>', ((css, text) for text in texts))


def moment(value: datetime | str | None) -> str:
    """An instant in the zone of the settings; ISO 8601 text is as good."""
    if not value:
        return NOTHING
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return date_format(timezone.localtime(at), "j M Y H:i")


def switch(row: Provider | ModelPool | PoolCandidate) -> SafeString:
    """The operator's switch: its value now, why, who, since and until when."""
    is_on = row.switch_base if _is_over(row) else row.enabled
    shown = toned("ok", "On") if is_on else toned("off", "Off")
    return format_html("{}{}", shown, lines(switch_lines(row)))


def switch_lines(row: Provider | ModelPool | PoolCandidate) -> list[str]:
    """Why, who, since and until when; nothing while nobody has set it."""
    if _is_over(row) or row.switch_created_at is None:
        return []
    said = [f"“{row.switch_reason}”"] if row.switch_reason else []
    said.append(f"{row.switch_updated_by or 'somebody'}, {moment(row.switch_updated_at)}")
    if row.switch_expires_at is not None:
        said.append(f"until {moment(row.switch_expires_at)}")
    return said


def _is_over(row: Provider | ModelPool | PoolCandidate) -> bool:
    return row.switch_expires_at is not None and row.switch_expires_at <= datetime.now(UTC)


def link(page: str, pk: Any, text: str) -> SafeString:
    """A link to the page of a row of routing."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:routing_{page}_change", args=[pk]), text)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> SafeString:
    """A small table inside a page."""
    return format_html(
        '<table class="facts"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>',
        format_html_join("", '<th scope="col">{}</th>', ((word,) for word in head)),
        format_html_join(
            "",
            "<tr>{}</tr>",
            ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows),
        ),
    )


def reasons(candidate: Shape) -> SafeString:
    """All reasons of a candidate, one line each."""
    return lines(note["message"] for note in candidate["reasons"])
