"""The pictures of the documentation: what each shows, and how the page gets there.

A shot opens its page, brings it into the state that is to be seen, and says what must be on it. The order of
``FRESH`` and ``LIVELY`` matters in nothing but which stage of the demo they are taken in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page, expect


def nothing(page: Page) -> None:
    """The page as it opens."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: ``docs/images/NAME.png``.

    Attributes:
        shows: Text that must be visible, besides the page's own title.
        width, height: Of the window, in CSS pixels; a shorter page makes a shorter picture.
    """

    name: str
    path: str
    shows: tuple[str, ...]
    do: Callable[[Page], None] = nothing
    width: int = 1440
    height: int = 1000
    dark: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def live(page: Page) -> None:
    """The page has heard from the server."""
    expect(page.locator("#indicator")).to_have_attribute("data-state", "live")


def newest_failover(page: Page) -> None:
    """From the list to the request itself."""
    page.locator("[data-open]").first.click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()


def try_it(page: Page) -> None:
    """A real answer, after one pretended failure."""
    page.get_by_label("Prompt").fill("Why was my invoice higher this month?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#sent").get_by_role("heading", name="What happened")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def switch_off(page: Page, name: str) -> None:
    """Press a switch that is on."""
    live(page)
    page.get_by_role("switch", name=name, exact=True).click()


def ask_disable(page: Page) -> None:
    """A provider that others can replace everywhere."""
    switch_off(page, "provider demo-economy")
    page.get_by_label("Reason").fill("rate-limit storm, ticket OPS-141")
    page.get_by_label("8 h").check()


def ask_confirm(page: Page) -> None:
    """A provider without which a pool has nobody left; its name half typed would not do."""
    switch_off(page, "provider demo-backup")
    page.get_by_label("Reason").fill("key leaked, OPS-142")
    page.get_by_label("1 h").check()
    phrase = page.locator("[data-phrase]")
    phrase.fill(phrase.get_attribute("data-phrase"))
    expect(page.get_by_role("dialog").get_by_role("button", name="Disable")).to_be_enabled()


def switch_and_undo(page: Page) -> None:
    """A candidate switched off, and the note that takes it back."""
    switch_off(page, "candidate demo-economy/nova-small of translations")
    page.get_by_label("Reason").fill("answers in the wrong language, OPS-143")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_be_visible()


def take_back(page: Page) -> None:
    """What ``switch_and_undo`` did."""
    page.locator(".toast").get_by_role("button", name="Undo").click()


def first_row(page: Page) -> None:
    """From a list of the admin to the row named in the address."""
    page.locator("#result_list tbody th a").first.click()


def history_of_it(page: Page) -> None:
    """And on to its history."""
    first_row(page)
    page.get_by_role("link", name="History", exact=True).click()


def swagger(page: Page) -> None:
    """All operations are drawn."""
    expect(page.locator("[data-path='/admin/routing-state']").first).to_be_visible()


FRESH = (
    Shot(
        "requests-empty",
        "/dashboard/requests/",
        ("No requests yet", "manage.py create_api_key first"),
        height=560,
    ),
)
PHONE = {"has_touch": True, "is_mobile": True}
LIVELY = (
    Shot("pools", "/dashboard/", ("demo-chat", "Failed over"), live, height=1100),
    Shot("pools-dark", "/dashboard/", ("demo-chat", "Failed over"), live, height=1100, dark=True),
    Shot("pools-phone", "/dashboard/", ("demo-chat", "Failed over"), live, 360, 760, options=PHONE),
    Shot(
        "pool",
        "/dashboard/pools/demo-chat/",
        ("Requests by candidate", "Last requests", "demo-primary"),
        live,
        height=1250,
    ),
    Shot("pool-dark", "/dashboard/pools/demo-chat/", ("Requests by candidate",), live, dark=True),
    Shot("pool-phone", "/dashboard/pools/demo-chat/", ("demo-primary",), live, 360, 760, options=PHONE),
    Shot("providers", "/dashboard/providers/", ("demo-primary", "Test now"), live),
    Shot("requests", "/dashboard/requests/", ("Answered by", "support-assistant"), live, height=780),
    Shot(
        "request",
        "/dashboard/requests/?model=demo-chat&failover=1",
        ("What happened", "Facts", "503"),
        newest_failover,
    ),
    Shot(
        "try-it",
        "/dashboard/try/?model=support-assistant&assume=demo-backup/nova-large-2026-05=503",
        ("What happened", "This is demo-economy"),
        try_it,
        height=1100,
    ),
    Shot("changes", "/dashboard/changes/", ("rate-limit storm, OPS-131", "Undo"), live),
    Shot(
        "disable",
        "/dashboard/providers/",
        ("Disable provider demo-economy?", "Used by"),
        ask_disable,
        height=780,
    ),
    Shot(
        "confirm",
        "/dashboard/providers/",
        ("Disable provider demo-backup?", "Clients will get 503"),
        ask_confirm,
        height=780,
    ),
    Shot(
        "undo",
        "/dashboard/pools/translations/",
        ("Disabled candidate demo-economy/nova-small of translations.",),
        switch_and_undo,
        height=640,
    ),
    Shot("admin", "/admin/routing/modelpool/", ("Select model pool to change", "demo-chat")),
    Shot(
        "admin-pool",
        "/admin/routing/modelpool/?q=demo-chat",
        ("Effective candidate",),
        first_row,
        height=1250,
    ),
    Shot(
        "admin-provider",
        "/admin/routing/provider/?q=demo-backup",
        ("Test connection",),
        first_row,
        height=1250,
    ),
    Shot("admin-history", "/admin/routing/modelpool/?q=demo-chat", ("OPS-131",), history_of_it),
    Shot("swagger", "/admin/api/", ("Sluice admin API",), swagger, height=860),
    Shot("browsable", "/admin/routing-state", ("HTTP 200 OK",), height=860),
)
# What a shot leaves behind, and who takes it back.
AFTER: Mapping[str, Callable[[Page], None]] = {"undo": take_back}
