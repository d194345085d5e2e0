"""No page breaks the content policy, and those of foreign making work under it.

A visitor's faults, checked at its end, hold every violation that the console told.
"""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from routing import services
from routing.models import Alias, ModelPool, Provider
from tests.dashboard.browsing import PAGES
from tests.dashboard.conftest import ADA

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ADMIN = [
    "/admin/",
    "/admin/login/",
    "/admin/password_change/",
    "/admin/auth/user/add/",
    "/admin/auth/group/add/",
    "/admin/routing/provider/",
    "/admin/routing/provider/add/",
    "/admin/routing/modelpool/",
    "/admin/routing/modelpool/add/",
    "/admin/routing/alias/",
    "/admin/routing/clientkey/add/",
    "/admin/routing/admintoken/",
    "/admin/routing/routingrevision/",
    "/admin/proxying/requestrecord/",
]
API = [
    "/admin/routing-state",
    "/admin/routing-state?include=all",
    "/admin/routing/model-pools",
    "/admin/routing/explain",
    "/admin/routing/revisions",
    "/admin/routing/revisions/1",
    "/admin/routing/revisions/1/revert",
    "/admin/providers/status",
    "/admin/providers/probe",
    "/admin/requests",
    "/admin/api/providers",
    "/admin/api/providers/a",
    "/admin/api/pools",
    "/admin/api/pools/chat",
    "/admin/api/aliases",
    "/admin/api/aliases/short",
    "/admin/api/defaults",
    "/admin/api/client-keys",
    "/admin/api/admin-tokens",
]
A_IS_OFF = '{"kind": "provider", "provider_name": "a", "enabled": false, "reason": "OPS-7"}'


@pytest.fixture
def root(visit):
    """A superuser's browser, with an alias to look at."""
    services.save_alias(name="short", target="chat", **ADA)
    User.objects.create_superuser("root", "", "root")
    return visit("root")


def answer(page):
    return page.locator(".response-info")


@pytest.mark.looks
def test_no_page_breaks_the_content_policy(root):
    provider, pool = Provider.objects.get(name="a"), ModelPool.objects.get(canonical_model="chat")
    rows = [
        f"/admin/routing/{where}/"
        for where in (
            f"provider/{provider.pk}/change",
            f"provider/{provider.pk}/delete",
            f"modelpool/{pool.pk}/change",
            f"modelpool/{pool.pk}/history",
        )
    ]
    for path in [*PAGES, *ADMIN, *API, *rows]:
        page = root.open(path)
        page.wait_for_timeout(150)
        page.close()


def test_swagger_reads_and_writes(root):
    from playwright.sync_api import expect

    page = root.open("/admin/api/")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_role("button", name="Close").first.click()
    for method, body in (("get", ""), ("put", A_IS_OFF)):
        operation = page.locator(f".opblock-{method}").filter(
            has=page.locator("[data-path='/admin/routing-state']")
        )
        operation.locator(".opblock-summary-control").click()
        if body:
            operation.locator("textarea.body-param__text").fill(body)
        operation.get_by_role("button", name="Execute").click()
        status = operation.locator(".live-responses-table tbody .response-col_status").first
        expect(status).to_contain_text("200")
    assert Provider.objects.get(name="a").enabled is False
    # Every operation, with what only an open one shows.
    page.evaluate(
        "document.querySelectorAll('.opblock:not(.is-open) .opblock-summary-control').forEach(e => e.click())"
    )
    page.wait_for_timeout(1_500)


def test_browsable_pages_take_raw_data(root):
    from playwright.sync_api import expect

    page = root.open("/admin/routing-state")
    page.get_by_role("link", name="Raw data").click()
    form = page.locator("#put-generic-content-form")
    form.locator("textarea").fill(A_IS_OFF)
    form.get_by_role("button", name="PUT").click()
    expect(answer(page)).to_contain_text('"updated_by": "root"')
    assert Provider.objects.get(name="a").enabled is False
    # What was chosen last is open on the next page, too.
    page.goto("/admin/routing/explain")
    form = page.locator("#post-generic-content-form")
    form.locator("textarea").fill('{"model": "chat"}')
    form.get_by_role("button", name="POST").click()
    expect(answer(page)).to_contain_text('"decision"')


def test_browsable_pages_take_forms(root):
    from playwright.sync_api import expect

    page = root.open("/admin/routing-state")
    form = page.locator("#put-object-form")
    form.locator("[name=kind]").fill("provider")
    form.locator("[name=provider_name]").fill("a")
    form.locator("[name=enabled]").select_option("off")
    form.get_by_role("button", name="PUT").click()
    expect(answer(page)).to_contain_text('"updated_by": "root"')
    assert Provider.objects.get(name="a").enabled is False
    page.goto("/admin/routing/explain")
    form = page.locator("#post-object-form")
    expect(form).to_contain_text("A list: give it as raw data.")
    form.locator("[name=model]").fill("chat")
    form.get_by_role("button", name="POST").click()
    expect(answer(page)).to_contain_text("HTTP 200 OK")


def test_browsable_pages_delete_and_sign_out(root):
    from playwright.sync_api import expect

    page = root.open("/admin/api/aliases/short")
    page.get_by_role("button", name="DELETE").click()
    page.locator("#deleteModal form button").click()
    expect(answer(page)).to_contain_text("HTTP 204 No Content")
    assert Alias.objects.count() == 0
    page.goto("/admin/api/aliases")
    page.get_by_role("button", name="Log out").click()
    expect(answer(page)).to_contain_text("HTTP 401 Unauthorized")
    page.get_by_role("link", name="Log in").click()
    expect(page.locator("#login-form")).to_be_visible()
