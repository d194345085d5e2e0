"""What the admin's pages show of the live routing, and the buttons that ask providers."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.urls import reverse

from routing import live, models, services
from tests import factories
from tests.routing.model_lists import model_lists

pytestmark = pytest.mark.django_db
ADA = {"actor": services.Actor("ada"), "source": "admin"}


@pytest.fixture
def pool():
    """``m``: a/x before b/x, both known from discovery."""
    row = factories.ModelPoolFactory(canonical_model="m")
    for priority, name in enumerate("ab", 1):
        provider = factories.ProviderFactory(name=name, probe_state="ok", probed_at=factories.NOW)
        factories.ProviderModelFactory(provider=provider, model="x")
        factories.PoolCandidateFactory(pool=row, provider=provider, model="x", priority=priority)
    yield row
    caches["health"].clear()


def url(page, name="changelist", *args):
    return reverse(f"admin:routing_{page}_{name}", args=args)


def field(response, name):
    """What a read-only field of the page says, without tags."""
    found = re.search(
        rf'field-{name}".*?class="readonly">(.*?)</div>\s*</div>\s*</div>',
        response.content.decode(),
        re.DOTALL,
    )
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found[1])).split()) if found else None


def break_live(provider, model):
    """Five failures in a row, told to all workers."""

    async def fail(resolver):
        for _ in range(5):
            resolver.live_health.failure(provider, model, "HTTP 503")
        await resolver.live_health.sync()

    live.ask(fail)


def test_pool_page_shows_what_live_requests_found(ada, pool):
    """T3, T25, T28: an open circuit moves the effective candidate, and the row says why."""
    break_live("a", "x")

    page = ada.get(url("modelpool", "change", pool.pk))

    assert field(page, "effective_candidate") == "b/x configured primary: a/x"
    assert field(page, "status").startswith("▲ Degraded")
    assert field(page, "blocked").startswith("a/x: ")
    assert "HTTP 503" in field(page, "blocked")


def test_lists_show_what_live_requests_found(ada, pool):
    break_live("a", "x")

    pools = ada.get(url("modelpool")).content.decode()
    providers = ada.get(url("provider", "change", models.Provider.objects.get(name="a").pk))

    assert "configured primary: a/x" in pools
    assert re.match(r"Model State Failures Until Cause x ✖ Open 5 .* HTTP 503$", field(providers, "circuits"))


def test_provider_page_tells_its_last_changes(ada, pool):
    """Each with its cause and its end, and nobody else's."""
    break_live("a", "x")

    pages = {
        name: ada.get(url("provider", "change", models.Provider.objects.get(name=name).pk)) for name in "ab"
    }

    told = field(pages["a"], "changes")
    assert re.match(
        r"At Model Event Cause Until \d+ \w+ \d{4} \d\d:\d\d x circuit open .*HTTP 503 \d+ ", told
    )
    assert field(pages["b"], "changes") == "None."


def test_peeking_takes_no_ticket(ada, pool):
    """T2: the page of a weighted pool says the next slot, however often it is opened."""
    models.ModelPool.objects.filter(pk=pool.pk).update(strategy="weighted_round_robin")

    shown = {field(ada.get(url("modelpool", "change", pool.pk)), "effective_candidate") for _ in range(3)}

    assert len(shown) == 1


@pytest.mark.parametrize("page", ["provider", "modelpool"])
def test_pages_open_when_the_worker_does_not_answer(ada, pool, monkeypatch, page):
    def late(question):
        raise TimeoutError

    monkeypatch.setattr(live, "ask", late)
    row = pool if page == "modelpool" else models.Provider.objects.get(name="a")

    for response in (ada.get(url(page)), ada.get(url(page, "change", row.pk))):
        assert response.status_code == 200
        assert "from configuration and model discovery only" in response.content.decode()


def test_bad_row_shows_its_problem(ada, pool):
    """T21: a row that the table leaves out says so."""
    models.Provider.objects.filter(name="a").update(kind="gone")

    page = ada.get(url("provider", "change", models.Provider.objects.get(name="a").pk))

    assert field(page, "status") == "✖ Not usable Unknown kind 'gone'."


def test_provider_page_links_its_users_and_marks_missing_models(ada, pool):
    other = factories.ModelPoolFactory(canonical_model="other")
    provider = models.Provider.objects.get(name="a")
    factories.PoolCandidateFactory(pool=other, provider=provider, model="gone")
    factories.AliasFactory(name="short", target="a/x")

    page = ada.get(url("provider", "change", provider.pk))

    assert field(page, "used_by") == "pool m pool other alias short"
    assert url("modelpool", "change", other.pk) in page.content.decode()
    assert "gone ✖ missing other" in field(page, "models")
    assert field(page, "in_flight") == "0 (in this worker)"


def test_switch_shows_who_when_why_and_until(ada, pool):
    services.set_switch(
        target=services.SwitchTarget("canonical_model", canonical_model="m"),
        enabled=False,
        expires_in_s=3600,
        reason="GPU swap",
        **ADA,
    )

    for page in (ada.get(url("modelpool")), ada.get(url("modelpool", "change", pool.pk))):
        text = html.unescape(page.content.decode())
        assert "“GPU swap”" in text
        assert re.search(r"ada, \d+ \w+ \d{4} [\d:]+", text)
        assert re.search(r"until \d+ \w+ \d{4} [\d:]+", text)


@pytest.mark.parametrize(("button", "state"), [("test", "unprobed"), ("discover", "ok")])
def test_button_asks_the_provider(ada, button, state):
    with model_lists() as lists:
        row = factories.ProviderFactory(name="a", base_url=lists.start("x").base_url)

        response = ada.post(reverse(f"admin:routing_provider_{button}", args=[row.pk]), follow=True)

    assert response.redirect_chain[0][0] == url("provider", "change", row.pk)
    assert [str(message) for message in response.context["messages"]] == ["Provider a: It lists 1 model."]
    row.refresh_from_db()
    assert row.probe_state == state


@pytest.mark.parametrize("button", ["test", "discover"])
def test_buttons_are_for_those_who_may_change_providers(ben, button):
    row = factories.ProviderFactory(name="a")

    assert ben.post(reverse(f"admin:routing_provider_{button}", args=[row.pk])).status_code == 403
    assert "Test connection" not in ben.get(url("provider", "change", row.pk)).content.decode()


def test_buttons_take_posts_only(ada):
    row = factories.ProviderFactory(name="a")

    assert ada.get(reverse("admin:routing_provider_test", args=[row.pk])).status_code == 405


def test_reader_sees_the_state_of_the_key_and_the_health(ben, pool):
    row = models.Provider.objects.get(name="a")
    models.Provider.objects.filter(pk=row.pk).update(credential_encrypted="x", credential_hint="…f3a")

    page = ben.get(url("provider", "change", row.pk))

    assert field(page, "key") == "set, ends …f3a"
    assert field(page, "used_by") == "pool m"
    assert 'name="credential"' not in page.content.decode()


def test_reader_sees_candidates_without_fields_to_change(ben, pool):
    page = ben.get(url("modelpool", "change", pool.pk)).content.decode()

    assert "✔</span> Effective" in page
    assert 'name="candidates-0-weight"' not in page


@pytest.mark.parametrize("page", ["provider", "modelpool", "alias", "clientkey", "routingrevision"])
def test_staff_without_permissions_is_refused(mallory, page):
    assert mallory.get(url(page)).status_code == 403


def test_revision_is_undone_after_a_page_that_shows_it(ada, pool):
    services.save_provider(name="a", values={"max_in_flight": 3}, **ADA)
    page = reverse("admin:routing_routingrevision_undo", args=[1])

    asked = ada.get(page).content.decode()
    done = ada.post(page, {"reason": "too low"}, follow=True)

    assert page in ada.get(url("routingrevision", "change", 1)).content.decode()
    assert "max_in_flight" in asked
    assert models.Provider.objects.get(name="a").max_in_flight is None
    assert [str(message) for message in done.context["messages"]] == ["Undid revision 1 with revision 2."]
    revision = models.RoutingRevision.objects.get(pk=2)
    assert (revision.reverts, revision.reason, revision.actor) == (1, "too low", "ada")


def test_undoing_what_was_changed_since_is_refused_on_the_page(ada, pool):
    services.save_provider(name="a", values={"max_in_flight": 3}, **ADA)
    services.save_provider(name="a", values={"max_in_flight": 4}, **ADA)

    response = ada.post(reverse("admin:routing_routingrevision_undo", args=[1]))

    assert response.context["form"].non_field_errors() == [
        "Changed again since revision 1: provider/a max_in_flight."
    ]


def test_reader_may_not_undo(ben, pool):
    services.save_provider(name="a", values={"max_in_flight": 3}, **ADA)
    page = reverse("admin:routing_routingrevision_undo", args=[1])

    assert (ben.get(page).status_code, ben.post(page).status_code) == (403, 403)
    assert page not in ben.get(url("routingrevision", "change", 1)).content.decode()


def test_undoing_a_change_of_a_key_needs_the_right_to_change_keys(client):
    row, _ = services.create_client_key(values={"name": "app"}, **ADA)
    services.update_client_key(key_id=row.pk, values={"enabled": False}, **ADA)
    user = User.objects.create_user("carol", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            codename__in=["change_modelpool", "change_provider", "view_routingrevision"]
        )
    )
    client.force_login(user)

    assert client.post(reverse("admin:routing_routingrevision_undo", args=[2])).status_code == 403
    assert models.ClientKey.objects.get().enabled is False
