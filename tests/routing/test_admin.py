from __future__ import annotations

import html
import re

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.urls import reverse

from routing import models, queries, services, snapshot
from tests import factories
from tests.routing.model_lists import model_lists

pytestmark = pytest.mark.django_db
ADA = {"actor": services.Actor("ada"), "source": "admin"}
PAGES = [
    "provider",
    "modelpool",
    "alias",
    "routingdefaults",
    "clientkey",
    "admintoken",
    "routingrevision",
    "providermodel",
]


@pytest.fixture
def pool():
    row = factories.ModelPoolFactory(canonical_model="m")
    for priority, name in enumerate("ab", 1):
        factories.PoolCandidateFactory(
            pool=row, provider=factories.ProviderFactory(name=name), model="x", priority=priority
        )
    return row


def url(page, name="changelist", *args):
    return reverse(f"admin:routing_{page}_{name}", args=args)


def text_of(response):
    """What the page says, without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", response.content.decode()))


def errors(response):
    form = response.context["adminform"].form
    return {name: list(texts) for name, texts in form.errors.items()}


def provider_data(**values):
    return {
        "name": "p",
        "kind": "openai",
        "base_url": "",
        "configured_models": "",
        "options": "{}",
        "expected_revision": queries.head_revision(),
    } | values


def pool_data(row, **values):
    """The form of a pool as the page would post it."""
    data = {
        "description": "",
        "session_affinity": "unknown",
        "failover_enabled": "unknown",
        "failover_on_model_errors": "unknown",
        "candidates-INITIAL_FORMS": 0,
        "candidates-TOTAL_FORMS": 0,
        "expected_revision": queries.head_revision(),
    }
    if row is not None:
        found = list(row.candidates.order_by("priority"))
        data |= {"candidates-INITIAL_FORMS": len(found), "candidates-TOTAL_FORMS": len(found)}
        for index, candidate in enumerate(found):
            data |= candidate_data(
                index,
                id=candidate.pk,
                pool=row.pk,
                provider=candidate.provider_id,
                model=candidate.model,
                priority=candidate.priority,
                weight=candidate.weight,
            )
            if candidate.enabled:
                data[f"candidates-{index}-enabled"] = "on"
    return data | values


def candidate_data(index, **values):
    return {f"candidates-{index}-{name}": value for name, value in values.items()}


@pytest.mark.parametrize("page", PAGES)
def test_pages_open_for_operator(ada, pool, page):
    factories.AliasFactory(name="short", target="m")
    factories.ClientKeyFactory()
    factories.AdminTokenFactory()

    response = ada.get(url(page), follow=True)

    assert response.status_code == 200


def test_leases_are_for_superusers(admin_client, ada):
    """They have no permission of their own."""
    assert [client.get(url("lease")).status_code for client in (admin_client, ada)] == [200, 403]


@pytest.mark.parametrize("page", PAGES)
def test_pages_open_read_only_for_a_reader(ben, pool, page):
    if page == "routingdefaults":
        factories.RoutingDefaultsFactory()

    response = ben.get(url(page), follow=True)

    assert response.status_code == 200
    assert ben.get(url(page, "add")).status_code == 403


def test_pages_are_closed_to_others(client):
    assert client.get(url("provider")).status_code == 302


@pytest.mark.parametrize("page", ["provider", "modelpool"])
def test_reader_sees_an_object_without_a_way_to_save_it(ben, pool, page):
    row = pool if page == "modelpool" else models.Provider.objects.get(name="a")

    response = ben.get(url(page, "change", row.pk))

    assert response.status_code == 200
    assert b'name="_save"' not in response.content
    assert ben.post(url(page, "change", row.pk), {}).status_code == 403


def test_provider_is_created_with_one_revision(ada, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    response = ada.post(
        url("provider", "add"),
        provider_data(
            credential="sk-secret-abcf3a", configured_models="gpt-5\r\n\r\n o3 ", change_reason="new account"
        ),
    )

    assert response.status_code == 302
    row = models.Provider.objects.get()
    assert (row.configured_models, row.credential_hint) == (["gpt-5", "o3"], "…f3a")
    revision = models.RoutingRevision.objects.get()
    assert (revision.actor, revision.source, revision.reason) == ("ada", "admin", "new account")


def test_stored_key_is_never_in_the_page_and_stays_when_left_empty(ada, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    row = services.save_provider(name="p", values={"kind": "openai", "credential": "sk-secret-abcf3a"}, **ADA)

    page = ada.get(url("provider", "change", row.pk)).content.decode()
    ada.post(url("provider", "change", row.pk), provider_data(max_in_flight=4))

    assert "sk-secret" not in page
    assert "set, ends …f3a; leave empty to keep." in page
    provider = snapshot.load().providers["p"]
    assert (provider.api_key, provider.max_in_flight) == ("sk-secret-abcf3a", 4)


def test_key_can_be_removed(ada):
    row = services.save_provider(name="p", values={"kind": "openai", "credential": "${A_KEY}"}, **ADA)

    ada.post(url("provider", "change", row.pk), provider_data(remove_credential="on"))

    row.refresh_from_db()
    assert row.credential_ref == ""


def test_refusal_of_a_service_stands_at_its_field(ada, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = []

    response = ada.post(url("provider", "add"), provider_data(credential="sk-secret-abcf3a"))

    assert list(errors(response)) == ["credential"]
    assert "GATEWAY_ENCRYPTION_KEYS is empty" in errors(response)["credential"][0]
    assert models.Provider.objects.count() == 0
    assert queries.head_revision() == 0


def test_stale_form_is_refused(ada):
    row = services.save_provider(name="p", values={"kind": "openai"}, **ADA)
    services.save_provider(name="p", values={"max_in_flight": 2}, **ADA)

    response = ada.post(
        url("provider", "change", row.pk), provider_data(max_in_flight=9, expected_revision=1)
    )

    assert errors(response) == {
        "__all__": ["Changed meanwhile by ada in revision 2: Changed max_in_flight of provider p."]
    }


def test_pool_is_created_with_its_candidates_in_one_revision(ada):
    a, b = factories.ProviderFactory(name="a"), factories.ProviderFactory(name="b")
    data = pool_data(
        None, canonical_model="m", strategy="weighted_round_robin", failover_on_statuses="429, 503"
    )
    data |= {"candidates-TOTAL_FORMS": 2}
    data |= candidate_data(0, provider=a.pk, model="x", priority=1, weight=10, enabled="on")
    data |= candidate_data(1, provider=b.pk, model="y", priority=2, weight=6)

    response = ada.post(url("modelpool", "add"), data)

    assert response.status_code == 302
    pool = snapshot.load().pools["m"]
    assert [(c.selector, c.weight, c.switch.enabled) for c in pool.candidates] == [
        ("a/x", 10, True),
        ("b/y", 6, False),
    ]
    assert pool.policy.failover.retry_on_statuses == frozenset({429, 503})
    assert pool.overrides == frozenset({"strategy", "failover.retry_on_statuses"})
    assert queries.head_revision() == 1


def test_pool_without_candidates_is_refused(ada):
    response = ada.post(url("modelpool", "add"), pool_data(None, canonical_model="m"))

    assert response.status_code == 200
    assert models.ModelPool.objects.count() == 0


def test_candidates_are_changed_and_removed_with_the_pool(ada, pool):
    data = pool_data(pool) | {"candidates-0-DELETE": "on", "candidates-1-weight": 7, "description": "new"}

    response = ada.post(url("modelpool", "change", pool.pk), data)

    assert response.status_code == 302
    assert [(c.selector, c.weight) for c in snapshot.load().pools["m"].candidates] == [("b/x", 7)]
    assert queries.head_revision() == 1


def test_emptying_a_pool_needs_the_box_ticked(ada, pool):
    data = pool_data(pool)
    del data["candidates-0-enabled"], data["candidates-1-enabled"]

    refused = ada.post(url("modelpool", "change", pool.pk), data)
    accepted = ada.post(url("modelpool", "change", pool.pk), data | {"confirm": "on"})

    assert errors(refused) == {
        "confirm": ["This would leave no candidate switched on in: m. Confirm to go on."]
    }
    assert accepted.status_code == 302
    assert models.PoolCandidate.objects.filter(enabled=True).count() == 0


def test_same_candidate_twice_is_refused_at_the_form(ada, pool):
    data = pool_data(pool) | {"candidates-1-provider": models.Provider.objects.get(name="a").pk}

    response = ada.post(url("modelpool", "change", pool.pk), data)

    assert response.status_code == 200
    assert queries.head_revision() == 0


def test_pool_page_shows_effective_candidate_and_reasons(ada, pool):
    services.set_switch(target=services.SwitchTarget("provider", "a"), enabled=False, reason="bill", **ADA)

    page = ada.get(url("modelpool", "change", pool.pk)).content.decode()

    assert re.search(r'field-effective_candidate.*?readonly">b/x<', page, re.DOTALL)
    assert re.search(r'class="blocked">a/x: [^<]*off', page)


@pytest.mark.parametrize(("page", "name"), [("provider", "b"), ("modelpool", "m")])
def test_action_switches_after_asking_why(ada, pool, page, name):
    row = pool if page == "modelpool" else models.Provider.objects.get(name=name)
    data = {"action": "switch_off", "_selected_action": [row.pk]}

    asked = ada.post(url(page), data)
    done = ada.post(url(page), data | {"apply": "1", "reason": "ticket 7", "minutes": "30"})

    assert asked.status_code == 200
    assert done.status_code == 302
    row.refresh_from_db()
    assert (row.enabled, row.switch_reason, row.switch_updated_by) == (False, "ticket 7", "ada")
    assert row.switch_expires_at is not None

    ada.post(url(page), {"action": "switch_on", "_selected_action": [row.pk], "apply": "1"})
    row.refresh_from_db()
    assert row.enabled is True


def test_action_that_would_empty_a_pool_asks_again(ada):
    row = factories.PoolCandidateFactory(model="x").provider
    data = {"action": "switch_off", "_selected_action": [row.pk], "apply": "1"}

    refused = ada.post(url("provider"), data)

    assert list(refused.context["form"].errors) == ["confirm"]
    assert ada.post(url("provider"), data | {"confirm": "on"}).status_code == 302


@pytest.mark.parametrize(("action", "state"), [("discover_models", "ok"), ("check_connections", "unprobed")])
def test_action_asks_providers_and_tells_what_they_say(ada, action, state):
    with model_lists() as lists:
        up, down = lists.start("x"), lists.start(status=500, body=b"")
        rows = [
            factories.ProviderFactory(name=name, base_url=upstream.base_url, enabled=enabled)
            for name, upstream, enabled in (("a", up, True), ("b", down, True), ("c", up, False))
        ]

        response = ada.post(
            url("provider"), {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True
        )

    assert [(message.level_tag, str(message)) for message in response.context["messages"]] == [
        ("success", "Provider a: It lists 1 model."),
        ("error", "Provider b: It answered HTTP 500."),
        ("warning", "Provider c: It is switched off: a disabled provider is never called."),
    ]
    assert models.Provider.objects.get(name="a").probe_state == state


def test_reader_has_no_actions(ben, pool):
    row = models.Provider.objects.get(name="b")

    ben.post(url("provider"), {"action": "switch_off", "_selected_action": [row.pk], "apply": "1"})

    row.refresh_from_db()
    assert row.enabled is True


def test_provider_in_use_cannot_be_deleted_and_shows_by_what(ada, pool):
    row = models.Provider.objects.get(name="a")

    page = ada.get(url("provider", "delete", row.pk)).content.decode()
    ada.post(url("provider", "delete", row.pk), {"post": "yes"})

    assert "a is used by pool m" in page
    assert models.Provider.objects.filter(name="a").exists()


def test_unused_objects_are_deleted_with_a_revision_each(ada, pool):
    services.save_alias(name="short", target="m", **ADA)
    alias = models.Alias.objects.get()

    ada.post(url("alias", "delete", alias.pk), {"post": "yes"})
    ada.post(url("modelpool", "delete", pool.pk), {"post": "yes"})
    ada.post(
        url("provider"),
        {
            "action": "delete_selected",
            "_selected_action": list(models.Provider.objects.values_list("pk", flat=True)),
            "post": "yes",
        },
    )

    assert models.Provider.objects.count() == 0
    assert [row.summary for row in models.RoutingRevision.objects.order_by("number")] == [
        "Added alias short",
        "Removed alias short",
        "Removed pool m",
        "Removed provider a",
        "Removed provider b",
    ]


def test_alias_to_nowhere_is_refused_at_its_field(ada):
    response = ada.post(url("alias", "add"), {"name": "short", "target": "nowhere"})

    assert list(errors(response)) == ["target"]


def test_defaults_are_made_once_and_then_changed(ada):
    data = {
        "configured_provider_models_mode": "allowlist",
        "session_affinity": "false",
        "failover_enabled": "unknown",
        "failover_on_model_errors": "unknown",
    }

    ada.post(url("routingdefaults", "add"), data)
    moved = ada.get(url("routingdefaults"))
    ada.post(url("routingdefaults", "change", 1), data | {"session_affinity": "unknown"})

    assert moved.url == url("routingdefaults", "change", 1)
    assert snapshot.load().defaults.session_affinity is True
    assert [row.summary for row in models.RoutingRevision.objects.order_by("number")] == [
        "Changed configured_provider_models_mode, session_affinity of defaults",
        "Changed session_affinity of defaults",
    ]


@pytest.mark.parametrize(
    ("page", "prefix", "extra"),
    [("clientkey", "sk-sluice-", {"models": "gpt-*"}), ("admintoken", "sluice-admin-", {})],
)
def test_new_key_is_shown_once(ada, page, prefix, extra):
    response = ada.post(url(page, "add"), {"name": "app", "enabled": "on"} | extra, follow=True)

    shown = re.search(prefix + r"[\w-]{43}", response.content.decode())
    assert shown is not None
    row = (models.ClientKey if page == "clientkey" else models.AdminToken).objects.get()
    assert shown[0].startswith(row.prefix)
    assert shown[0] not in ada.get(url(page)).content.decode()

    ada.post(url(page, "change", row.pk), {"name": "app"})
    row.refresh_from_db()
    assert row.enabled is False
    assert queries.head_revision() == 2


def test_history_page_shows_revisions_of_the_object_and_its_candidates(ada, pool):
    services.set_switch(
        target=services.SwitchTarget("pool_candidate", "a", "m", "x"), enabled=False, reason="slow", **ADA
    )
    services.save_provider(name="b", values={"max_in_flight": 2}, **ADA)

    page = ada.get(url("modelpool", "history", pool.pk))

    assert [row.number for row, _ in page.context["rows"]] == [1]
    assert "~ candidate a/x of m: enabled true → false" in text_of(page)


def test_revision_page_shows_its_diff(ada):
    services.save_defaults(values={"strategy": "weighted_round_robin"}, **ADA)

    page = text_of(ada.get(url("routingrevision", "change", 1)))

    assert "~ defaults: strategy (nothing) → weighted_round_robin" in page


@pytest.mark.parametrize(
    ("page", "count"), [("provider", 17), ("modelpool", 17), ("alias", 8), ("providermodel", 9)]
)
def test_list_pages_do_not_query_per_row(ada, django_assert_num_queries, page, count):
    """The first two also read the table once: this process does not serve."""
    a, b = factories.ProviderFactory(name="a"), factories.ProviderFactory(name="b")
    for number in range(100):
        row = factories.ModelPoolFactory(canonical_model=f"m{number}")
        factories.PoolCandidateFactory(pool=row, provider=a)
        factories.PoolCandidateFactory(pool=row, provider=b)
        factories.ProviderModelFactory(provider=factories.ProviderFactory())
        factories.AliasFactory(target=row.canonical_model)

    with django_assert_num_queries(count):
        response = ada.get(url(page))

    assert len(response.context["cl"].result_list) == 100


@pytest.mark.parametrize(
    "base_url",
    ["ftp://x", "http://u:p@x/v1", "http://x/v1?a=b", "http://169.254.169.254/v1", "http://[::1/v1", ""],
)
def test_base_url_is_refused_in_the_words_of_the_import(ada, tmp_path, base_url):
    file = tmp_path / "gateway.yaml"
    file.write_text(f"providers:\n  p: {{type: openai_compatible, base_url: '{base_url}'}}\n")

    with pytest.raises(CommandError) as imported:
        call_command("import_config", str(file))
    response = ada.post(url("provider", "add"), provider_data(kind="openai_compatible", base_url=base_url))

    (said,) = errors(response)["base_url"]
    assert said[1:].removesuffix(".") in str(imported.value)
    assert models.Provider.objects.count() == 0
