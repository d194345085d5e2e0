"""The dashboard in a browser: switching, conflicts, a lost network, the keyboard, small screens, the dark."""

from __future__ import annotations

import re

import pytest

from routing import services
from routing.models import ModelPool, PoolCandidate, RoutingRevision
from tests.dashboard import busy
from tests.dashboard.browsing import PAGES
from tests.dashboard.conftest import switch

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
A_IN_CHAT = "candidate a/m of chat"
LONG = "n" * 200


def knob(page, name=A_IN_CHAT):
    return page.get_by_role("switch", name=name, exact=True)


def shows(page, name, on):
    from playwright.sync_api import expect

    expect(knob(page, name)).to_have_attribute("aria-checked", "true" if on else "false")


def state_of(page, name):
    return page.locator("article", has=page.get_by_role("link", name=name, exact=True)).locator(
        "header .state .mark"
    )


def unfold(page, name):
    page.get_by_role("button", name=f"Candidates of {name}").click()


def test_a_candidate_is_switched_off_with_a_reason_and_back_by_undo(visit):
    """T48, T50: the switch and everything that depends on it follow without a reload."""
    from playwright.sync_api import expect

    page = visit().open("/dashboard/")
    expect(state_of(page, "chat")).to_have_text("OK")
    unfold(page, "chat")
    knob(page).click()
    page.get_by_label("Reason").fill("OPS-31")
    page.keyboard.press("Enter")
    shows(page, A_IN_CHAT, on=False)
    expect(state_of(page, "chat")).to_have_text("Failed over")
    expect(page.locator(".reason")).to_have_text(["The candidate is switched off: OPS-31"])
    revision = RoutingRevision.objects.latest("number")
    assert (revision.actor, revision.source, revision.reason) == ("ada", "dashboard", "OPS-31")
    page.locator(".toast").get_by_role("button", name="Undo").click()
    shows(page, A_IN_CHAT, on=True)
    expect(state_of(page, "chat")).to_have_text("OK")
    assert PoolCandidate.objects.get(pool__canonical_model="chat", provider__name="a").enabled is True


def test_each_kind_is_switched_from_its_page(visit):
    """T48."""
    page = visit().open("/dashboard/providers/")
    knob(page, "provider c").click()
    page.get_by_role("button", name="Disable", exact=True).click()
    shows(page, "provider c", on=False)
    knob(page, "provider c").click()
    shows(page, "provider c", on=True)
    page.goto("/dashboard/")
    knob(page, "pool solo").click()
    page.get_by_label("Reason").fill("gone")
    page.get_by_label("to confirm").fill("solo")
    page.get_by_role("button", name="Disable", exact=True).click()
    shows(page, "pool solo", on=False)
    assert ModelPool.objects.get(canonical_model="solo").enabled is False
    knob(page, "pool solo").click()
    shows(page, "pool solo", on=True)


def test_a_dialog_names_what_follows_and_waits_for_the_typed_name(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/providers/")
    knob(page, "provider b").click()
    dialog = page.get_by_role("dialog", name="Disable provider b?")
    expect(dialog.locator(".impact li")).to_have_count(2)
    expect(dialog.locator(".impact")).to_contain_text("Clients will get 503; it leaves /v1/models")
    button = dialog.get_by_role("button", name="Disable")
    expect(button).to_be_disabled()
    dialog.get_by_label("Reason").fill("x")
    dialog.get_by_label("to confirm").fill("sol")
    expect(button).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(knob(page, "provider b")).to_be_focused()
    knob(page, "provider b").click()
    dialog.get_by_label("Reason").fill("x")
    dialog.get_by_label("to confirm").fill("solo")
    button.click()
    shows(page, "provider b", on=False)


def test_a_conflict_from_another_browser_shows_both_and_lets_choose(visit):
    from playwright.sync_api import expect

    ada, carol = visit().open("/dashboard/pools/chat/"), visit("carol").open("/dashboard/pools/chat/")
    knob(ada).click()
    ada.get_by_label("Reason").fill("hers")
    knob(carol).click()
    carol.get_by_label("Reason").fill("the other's")
    carol.keyboard.press("Enter")
    shows(carol, A_IN_CHAT, on=False)
    ada.keyboard.press("Enter")
    dialog = ada.get_by_role("dialog")
    expect(dialog).to_contain_text("Changed meanwhile by carol")
    expect(dialog).to_contain_text("the other's")
    dialog.get_by_role("button", name="Disable all the same").click()
    expect(ada.locator(".reason").first).to_have_text("The candidate is switched off: hers")
    shows(ada, A_IN_CHAT, on=False)


def test_a_lost_network_is_said_and_the_switch_shows_the_truth(visit):
    """T49."""
    from playwright.sync_api import expect

    switch("pool_candidate/chat/a/m")
    ada = visit()
    page = ada.open("/dashboard/")
    shows(page, A_IN_CHAT, on=False)
    ada.context.set_offline(True)
    knob(page).click()
    expect(page.get_by_role("alert")).to_contain_text("The gateway could not be reached.")
    shows(page, A_IN_CHAT, on=False)
    expect(page.locator("#indicator")).to_have_attribute("data-state", "stale")
    expect(page.locator("#indicator")).to_have_text(re.compile(r"stale [1-9]\d*s, reconnecting"))
    switch("pool_candidate/chat/a/m", enabled=True)
    ada.context.set_offline(False)
    shows(page, A_IN_CHAT, on=True)
    expect(page.locator("#indicator")).to_have_attribute("data-state", "live")


def test_an_answer_that_was_lost_on_its_way_back_is_read_again(visit):
    """T49: the change was made, and only its answer was lost."""
    from playwright.sync_api import expect

    switch("pool_candidate/chat/a/m")
    page = visit().open("/dashboard/")

    def lose(route):
        route.fetch()
        route.abort()

    page.route("**/dashboard/switch/", lose)
    knob(page).click()
    expect(page.get_by_role("alert")).to_contain_text("It is not known whether the change was made")
    shows(page, A_IN_CHAT, on=True)


def test_what_others_change_appears_by_itself_and_is_spoken(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/")
    expect(page.locator("#indicator")).to_have_attribute("data-state", "live")
    page.wait_for_timeout(2_500)
    switch("pool_candidate/solo/b/m", confirm=True, reason="maintenance")
    expect(state_of(page, "solo")).to_have_text("Unavailable", timeout=6_000)
    expect(page.locator("#said")).to_have_text("solo: Unavailable")
    assert page.locator("article h2").all_inner_texts() == ["solo", "chat"]


def test_rows_stay_where_they_are_under_the_pointer(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/")
    page.wait_for_timeout(2_500)
    page.get_by_role("link", name="chat", exact=True).hover()
    switch("pool_candidate/solo/b/m", confirm=True)
    expect(state_of(page, "solo")).to_have_text("Unavailable", timeout=6_000)
    assert page.locator("article h2").all_inner_texts() == ["chat", "solo"]
    page.mouse.move(5, 5)
    expect(page.locator("article h2").first).to_have_text("solo")


def test_an_open_question_survives_what_happens_around_it(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/pools/chat/")
    page.wait_for_timeout(2_500)
    knob(page).click()
    page.get_by_label("Reason").fill("half a sen")
    switch("pool_candidate/chat/c/m")
    expect(page.locator(".hero .mark")).to_have_text("Degraded", timeout=6_000)
    expect(page.get_by_label("Reason")).to_have_value("half a sen")


def test_the_keyboard_does_it_all(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter pools")).to_be_focused()
    page.keyboard.type("chat")
    expect(page.locator("article")).to_have_count(1)
    assert page.url.endswith("?q=chat&state=&provider=")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("article")).to_be_focused()
    page.keyboard.press("d")
    dialog = page.get_by_role("dialog", name="Disable pool chat?")
    expect(dialog).to_be_visible()
    page.keyboard.type("reason")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard/pools/chat/")
    page.goto("/dashboard/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.wait_for_url("**/dashboard/try/?model=chat")
    page.goto("/dashboard/providers/")
    for key in ("j", "j", "j", "k"):
        page.keyboard.press(key)
    expect(page.locator("article.current h2")).to_have_text("b")
    page.keyboard.press("j")
    page.keyboard.press("d")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    shows(page, "provider c", on=False)
    page.keyboard.press("u")
    shows(page, "provider c", on=True)


@pytest.fixture
def held(visit):
    """A page whose switches wait for an answer until ``held.go()``; the list is read at once."""

    class Held:
        def __init__(self):
            self.routes = []
            self.page = visit().open("/dashboard/")

        def hold(self):
            self.page.route("**/dashboard/switch/**", self.keep)

        def keep(self, route):
            self.routes.append(route)

        def go(self):
            for route in self.routes:
                route.continue_()

        def until_asked(self):
            for _ in range(80):
                if self.routes:
                    return
                self.page.wait_for_timeout(50)
            raise AssertionError("nothing was asked")

    return Held()


def test_a_question_survives_a_list_that_is_read_anew(held):
    """A filter's answer replaces the row whose switch has just been pressed."""
    from playwright.sync_api import expect

    page = held.page
    held.hold()
    page.keyboard.press("j")
    page.keyboard.press("d")
    held.until_asked()
    page.get_by_label("Filter pools").fill("chat")
    expect(page.locator("article")).to_have_count(1)
    held.go()
    expect(page.get_by_role("dialog", name="Disable pool chat?")).to_be_visible()


def test_a_change_is_told_although_its_dialog_was_closed_meanwhile(held):
    from playwright.sync_api import expect

    page = held.page
    knob(page, "pool chat").click()
    dialog = page.get_by_role("dialog", name="Disable pool chat?")
    dialog.get_by_label("Reason").fill("x")
    dialog.get_by_label("to confirm").fill("chat")
    held.hold()
    dialog.get_by_role("button", name="Disable").click()
    held.until_asked()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    held.go()
    expect(page.locator(".toast")).to_contain_text("Disabled pool chat.")
    shows(page, "pool chat", on=False)


def test_pretended_failures_are_answered_at_once(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/try/?model=chat")
    expect(page.get_by_role("heading", name="200 from a/m")).to_be_visible()
    page.get_by_label("Pretend that a/m answers").select_option("pretend: 503")
    expect(page.get_by_role("heading", name="200 from b/m")).to_be_visible()
    assert "assume=a%2Fm%3D503" in page.url


@pytest.mark.looks
def test_the_theme_is_that_of_the_admin(visit):
    ada = visit(color_scheme="light")
    page = ada.open("/dashboard/")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Change the theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    page.goto("/admin/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto("/dashboard/changes/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.looks
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_page_is_wider_than_the_screen(visit, width):
    switch("pool_candidate/chat/a/m", reason="a long reason " * 20)
    busy.hour()
    busy.records()
    services.save_pool(
        canonical_model=LONG,
        values={},
        candidates=[{"provider_name": "c", "model": LONG, "priority": 1}],
        actor=services.Actor("ada"),
        source="admin",
    )
    ada = visit(viewport={"width": width, "height": 800})
    wide = {}
    of_long = [
        f"/dashboard/pools/{LONG}/",
        f"/dashboard/try/?model={LONG}",
        f"/dashboard/switch/?switch=off:canonical_model/{LONG}",
        f"/dashboard/nothing/{LONG}/",
    ]
    for path in [*PAGES, *of_long]:
        page = ada.open(path)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            wide[path] = over
        page.close()  # a browser holds six connections to one server, and each page has one for its stream
    assert wide == {}


def test_switching_works_on_a_phone(visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True).open("/dashboard/")
    unfold(page, "chat")
    knob(page).tap()
    page.get_by_label("Reason").fill("phone")
    page.get_by_role("button", name="Disable", exact=True).tap()
    shows(page, A_IN_CHAT, on=False)


@pytest.mark.looks
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit, scheme):
    from axe_playwright_python.sync_playwright import Axe

    switch("pool_candidate/chat/a/m")
    switch("pool_candidate/solo/b/m", confirm=True)
    busy.hour()
    busy.records()
    ada = visit(color_scheme=scheme)
    found = {}
    for path in PAGES:
        page = ada.open(path)
        if path == "/dashboard/providers/":
            knob(page, "provider b").click()
            page.get_by_role("dialog").wait_for()
        found[path] = [
            (fault["id"], node["target"], node["any"][:1])
            for fault in Axe().run(page).response["violations"]
            if fault["impact"] in {"serious", "critical"}
            for node in fault["nodes"]
        ]
        page.close()
    assert found == {path: [] for path in PAGES}


def test_read_only_users_press_in_vain_and_see_why(visit):
    from playwright.sync_api import expect

    page = visit("ben").open("/dashboard/")
    unfold(page, "chat")
    expect(knob(page)).to_be_disabled()
    assert "lacks" in knob(page).get_attribute("title")
    page.keyboard.press("j")
    page.keyboard.press("d")
    expect(page.locator("#said")).to_have_text("Nothing here to switch that way.")


def test_a_form_from_before_another_login_changes_nothing_and_says_so(visit):
    from playwright.sync_api import expect

    ada = visit()
    page = ada.open("/dashboard/")
    unfold(page, "chat")
    knob(page).click()
    page.get_by_label("Reason").fill("too late")
    ada.context.clear_cookies(name="csrftoken")
    page.get_by_role("button", name="Disable", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    assert "not known" not in page.get_by_role("alert").inner_text()
    shows(page, A_IN_CHAT, on=True)


def test_a_session_that_ended_meanwhile_leads_back_to_the_page(visit):
    ada = visit()
    page = ada.open("/dashboard/?q=chat")
    unfold(page, "chat")
    knob(page).click()
    page.get_by_label("Reason").fill("too late")
    ada.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Disable", exact=True).click()
    page.wait_for_url("**/admin/login/?next=/dashboard/%3Fq%3Dchat")


def test_everything_works_without_scripts(visit):
    from playwright.sync_api import expect

    page = visit(java_script_enabled=False).open("/dashboard/")
    knob(page).click()
    page.get_by_label("Reason").fill("no scripts")
    page.get_by_role("button", name="Disable", exact=True).click()
    expect(page.get_by_role("status").first).to_have_text("Disabled candidate a/m of chat.")
    shows(page, A_IN_CHAT, on=False)
    knob(page).click()
    shows(page, A_IN_CHAT, on=True)
    page.goto("/dashboard/changes/")
    page.get_by_role("button", name="Undo").first.click()
    expect(page.get_by_role("status").first).to_contain_text("Undid revision")
    page.goto("/dashboard/")
    shows(page, A_IN_CHAT, on=False)
    page.get_by_label("Filter pools").fill("solo")
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("article")).to_have_count(1)
