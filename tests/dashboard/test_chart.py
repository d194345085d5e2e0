"""A pool's requests over time."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from dashboard import chart
from proxying.traffic import WINDOWS, Counts, History
from routing.models import RoutingRevision
from tests.dashboard import busy
from tests.dashboard.conftest import switch
from tests.factories import NOW

PART = {"HX-Request": "true"}
START = int(NOW.timestamp())
A, B, GONE, NOBODY = ("chat", "a", "m"), ("chat", "b", "m"), ("chat", "z", "m"), ("chat", "", "")
CANDIDATES = [("a", "m"), ("b", "m")]


def drawn(*steps, revisions=(), window="15m"):
    length = len(range(0, WINDOWS[window].length_s, WINDOWS[window].step_s))
    history = History(
        WINDOWS[window],
        START,
        START + WINDOWS[window].length_s - 1,
        (*steps, *[{}] * (length - len(steps))),
    )
    return chart.draw(history, CANDIDATES, revisions)


def test_columns_are_stacked_in_the_pools_order_below_a_round_number():
    found = drawn({A: Counts(requests=5), B: Counts(requests=15)}, {A: Counts(requests=10)})
    assert (found.top, found.middle) == (20, 10)
    assert [(area.colour, area.path) for area in found.areas] == [
        (0, "M0.08 150v-37.5h0.84v37.5zM1.08 150v-75h0.84v75z"),
        (1, "M0.08 112.5v-112.5h0.84v112.5z"),
    ]


@pytest.mark.parametrize(("highest", "top"), [(0, 2), (3, 4), (5, 10), (11, 20), (399, 400), (401, 1000)])
def test_the_scale_and_its_half_are_round(highest, top):
    found = drawn({A: Counts(requests=highest)})
    assert (found.top, found.middle) == (top, top // 2)


def test_the_legend_has_totals_of_every_candidate_former_ones_and_requests_without_one():
    found = drawn(
        {A: Counts(requests=6, failures={"5xx": 1}, earlier=2), GONE: Counts(requests=2, latency={20: 2})},
        {NOBODY: Counts(requests=2, failed=2)},
    )
    assert [(row.name, row.colour, row.requests, row.attempts) for row in found.rows] == [
        ("a/m", 0, 6, 8),
        ("b/m", 1, 0, 0),
        ("z/m", 2, 2, 2),
        ("no candidate was called", 3, 2, 0),
    ]
    assert [(row.share, row.attempts_failed) for row in found.rows] == [
        (0.6, 1 / 8),
        (0.0, None),
        (0.2, 0.0),
        (0.2, None),
    ]
    assert found.rows[2].p50_ms == pytest.approx(1.2**20.5)


def test_more_candidates_than_colours_share_the_last():
    steps = {("chat", f"p{number}", "m"): Counts(requests=1) for number in range(12)}
    found = drawn(steps)
    assert [row.colour for row in found.rows] == [*range(8), *[7] * 6]
    assert [area.colour for area in found.areas] == [2, 3, 4, 5, 6, 7]


def test_errors_and_failovers_have_lanes_in_which_one_can_be_seen():
    found = drawn({A: Counts(requests=900, failed=1, failovers=900)}, {A: Counts(failed=100, failovers=1)})
    assert found.failed == "M0.08 20v-3h0.84v3zM1.08 20v-20h0.84v20z"
    assert found.failovers == "M0.08 20v-20h0.84v20zM1.08 20v-3h0.84v3z"
    assert (found.whole.requests, found.whole.failed, found.whole.failovers) == (900, 101, 901)


def test_what_nobody_reported_is_unknown_and_the_last_step_unfinished():
    found = drawn(None, {})
    assert [step.known for step in found.steps[:2]] == [False, True]
    assert found.unknown == "M0.08 150v-150h0.84v150z"
    assert (found.steps[1].label, found.steps[-1].label) == ("12:00:30", "12:14:30, so far")
    assert (found.known, drawn(*[None] * 30).known) == (True, False)


def test_changes_stand_where_they_were_made_and_open_to_the_side_with_room():
    revisions = [
        SimpleNamespace(created_at=NOW + timedelta(minutes=minutes), number=minutes)
        for minutes in (16, 12, 3, -1)
    ]
    found = drawn({}, revisions=revisions)
    assert [(mark.revision.number, mark.left, mark.opens_left) for mark in found.marks] == [
        (3, 20.0, False),
        (12, 80.0, True),
    ]


@pytest.mark.parametrize(
    ("window", "step_text", "times"),
    [
        ("15m", "30 s", ["12:00", "12:05", "12:10", "12:15"]),
        ("1h", "1 min", ["12:00", "12:20", "12:40", "13:00"]),
        ("24h", "15 min", ["12:00", "20:00", "04:00", "12:00"]),
    ],
)
def test_every_window_has_its_step_and_times(window, step_text, times):
    found = drawn({}, window=window)
    assert (found.step_text, [f"{at:%H:%M}" for _, at in found.times]) == (step_text, times)


def page(client, address="/dashboard/pools/chat/"):
    return " ".join(client.get(address, headers=PART).content.decode().split())


def test_the_pool_page_draws_the_window_that_the_address_names(ada, gateway):
    assert "No worker has reported numbers in 15m yet." in page(ada)
    busy.hour()
    numbers = re.compile(r'aria-label="(\d+) requests, (\d+) errors, (\d+) failovers in (\w+)\.')
    shown = {}
    for name in ("15m", "1h", "24h", "nonsense"):
        html = page(ada, f"/dashboard/pools/chat/?window={name}")
        _, errors, failovers, window = numbers.search(html).groups()
        shown[name] = (window, int(errors), int(failovers) > 100, html.count('<rect class="hit"'))
    assert shown == {
        "15m": ("15m", 24, True, 30),
        "1h": ("1h", 4, True, 60),
        "24h": ("24h", 4, True, 96),
        "nonsense": ("15m", 24, True, 30),
    }


def test_changes_of_the_pool_and_its_providers_are_marked_and_others_are_not(ada, gateway):
    busy.hour()
    for key in ("provider/c", "pool_candidate/mixed/a/n", "pool_candidate/chat/a/m"):
        switch(key, reason=f"for {key}", confirm=True)
    html = page(ada)
    marked = re.findall(r'before=(\d+)#r\d+" aria-label="([^"]*)"', html)
    last = RoutingRevision.objects.latest("number").number
    assert [int(before) for before, _ in marked] == [last - 1, last + 1]
    assert [text.partition("UTC ")[2] for _, text in marked] == [
        "by carol via api: Disabled provider c, “for provider/c”",
        "by carol via api: Disabled candidate a/m of chat, “for pool_candidate/chat/a/m”",
    ]


def test_last_requests_are_shown_to_those_who_may_see_them(ada, gateway):
    assert "No request for this pool is recorded." in page(ada)
    busy.records()
    html = page(ada)
    assert len(re.findall(r"/dashboard/requests/d\d+/", html)) == 8
    assert html.count("OK after failover") == 2
    assert "?model=chat&amp;failover=1" in html
    rights = User.objects.get(username="ada").user_permissions
    rights.remove(*rights.filter(codename="view_requestrecord"))
    assert "Last requests" not in page(ada)


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_mark_tells_who_what_and_why_to_the_keyboard_and_leads_to_the_change(visit):
    from playwright.sync_api import expect

    busy.hour()
    switch("pool_candidate/chat/a/m", reason="ticket OPS-31")
    RoutingRevision.objects.filter(reason="").update(created_at=timezone.now() - timedelta(hours=2))
    number = RoutingRevision.objects.latest("number").number
    window = visit().open("/dashboard/pools/chat/")
    mark, tip = window.locator(".change-mark a"), window.locator(".tip")
    expect(tip).to_be_hidden()
    mark.focus()
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("ticket OPS-31")
    window.keyboard.press("Enter")
    window.wait_for_url(f"**/dashboard/changes/?before={number + 1}#r{number}")
    expect(window.locator("article").first).to_contain_text("ticket OPS-31")


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_window_changes_in_place_and_a_new_number_appears_in_an_open_table(visit):
    from playwright.sync_api import expect

    now = busy.hour()
    window = visit().open("/dashboard/pools/chat/")
    window.get_by_role("link", name="1h", exact=True).click()
    window.wait_for_url("**/?window=1h")
    expect(window.locator("#chart-title")).to_have_text("Requests by candidate, per 1 min")
    window.locator("#chart-table summary").click()
    whole = window.locator("#chart-table summary").inner_text()
    busy.TrafficSlice.objects.create(
        at=now, worker="late", pools=busy.as_json(busy.served(500, failing=False))
    )
    window.evaluate("Sluice.refresh()")
    expect(window.locator("#chart-table summary")).not_to_have_text(whole)
    assert window.locator("#chart-table").evaluate("one => one.open") is True
