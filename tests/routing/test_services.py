from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from django.db import connections

from routing import models, queries, services, snapshot
from routing.services import SwitchTarget
from routing.types import DiscoveryState, ModelInfo
from tests import factories

pytestmark = pytest.mark.django_db
ADA = services.Actor("ada")
BY_ADA = {"actor": ADA, "source": "api"}


@pytest.fixture(autouse=True)
def forget_the_table():
    snapshot.reset()
    yield
    snapshot.reset()


@pytest.fixture
def two_pools():
    """``one`` has a/m and b/m, ``two`` has a/m."""
    for pool, providers in (("one", "ab"), ("two", "a")):
        row = factories.ModelPoolFactory(canonical_model=pool)
        for priority, name in enumerate(providers, 1):
            factories.PoolCandidateFactory(
                pool=row, provider=factories.ProviderFactory(name=name), model="m", priority=priority
            )


def last():
    return models.RoutingRevision.objects.first()


def candidate(pool="one", provider="a"):
    return models.PoolCandidate.objects.get(pool__canonical_model=pool, provider__name=provider)


def provider_target(name="a"):
    return SwitchTarget("provider", provider_name=name)


# --- revisions ---


def test_every_write_is_one_revision_with_its_difference():
    services.save_provider(
        name="p", values={"kind": "openai", "credential": "${A_KEY}"}, reason="new account", **BY_ADA
    )
    services.save_provider(name="p", values={"max_in_flight": 4}, **BY_ADA)

    revision = last()
    assert (revision.number, revision.actor, revision.source) == (2, "ada", "api")
    assert revision.summary == "Changed max_in_flight of provider p"
    assert revision.changes == [
        {"object": "provider/p", "field": "max_in_flight", "before": None, "after": 4}
    ]
    first = models.RoutingRevision.objects.get(pk=1)
    assert (first.summary, first.reason) == ("Added provider p", "new account")
    assert queries.head_revision() == 2


def test_write_that_changes_nothing_makes_no_revision():
    services.save_provider(name="p", values={"kind": "openai"}, **BY_ADA)

    services.save_provider(name="p", values={"kind": "openai"}, **BY_ADA)

    assert queries.head_revision() == 1


def test_refused_write_leaves_nothing_behind():
    with pytest.raises(services.Invalid):
        services.save_pool(canonical_model="m", values={}, candidates=[], **BY_ADA)

    assert models.ModelPool.objects.count() == 0
    assert queries.head_revision() == 0


def test_dry_run_writes_nothing(two_pools):
    result = services.set_switch(target=provider_target("b"), enabled=False, dry_run=True, **BY_ADA)

    assert [pool["canonical_model"] for pool in result.impact["pools"]] == ["one"]
    assert models.Provider.objects.get(name="b").enabled is True
    assert queries.head_revision() == 0


def test_unknown_keyword_of_a_service_is_refused():
    with pytest.raises(TypeError):
        services.delete_alias(name="x", who="ada", **BY_ADA)


@pytest.mark.django_db(transaction=True)
def test_write_is_in_force_in_its_own_process_at_once():
    snapshot.refresh()

    services.save_provider(name="p", values={"kind": "openai"}, **BY_ADA)

    assert list(snapshot.current().providers) == ["p"]
    assert snapshot.current().revision == 1


@pytest.mark.django_db(transaction=True)
def test_writes_of_many_threads_are_numbered_without_gaps():
    errors = []

    def work(worker):
        try:
            for turn in range(5):
                services.save_provider(name=f"p-{worker}-{turn}", values={"kind": "openai"}, **BY_ADA)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert sorted(models.RoutingRevision.objects.values_list("number", flat=True)) == list(range(1, 21))
    assert queries.head_revision() == 20
    assert all(len(revision.changes) == 1 for revision in models.RoutingRevision.objects.all())


@pytest.mark.django_db(transaction=True)
def test_two_operators_at_once_cannot_empty_a_pool_together(two_pools):
    """Each alone leaves a candidate; the second one sees the first one's write."""
    refused = []

    def off(name):
        try:
            services.set_switch(
                target=SwitchTarget("pool_candidate", name, "one", "m"), enabled=False, **BY_ADA
            )
        except services.WouldEmptyPool as error:
            refused.append(error.pools)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=off, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert refused == [("one",)]
    assert models.PoolCandidate.objects.filter(pool__canonical_model="one", enabled=True).count() == 1


# --- stale writes ---


def test_stale_write_conflicts_only_when_its_object_changed(two_pools):
    services.set_switch(target=provider_target("b"), enabled=False, **BY_ADA)
    seen = queries.head_revision()
    services.set_switch(target=provider_target("b"), enabled=True, reason="back", **BY_ADA)

    services.save_provider(name="a", values={"max_in_flight": 3}, expected_revision=seen, **BY_ADA)
    with pytest.raises(services.Conflict) as caught:
        services.set_switch(target=provider_target("b"), enabled=False, expected_revision=seen, **BY_ADA)

    assert caught.value.code == "stale_revision"
    assert [detail["number"] for detail in caught.value.details] == [2]
    assert caught.value.message == "Changed meanwhile by ada in revision 2: Enabled provider b."


def test_expected_revision_of_the_future_is_refused(two_pools):
    with pytest.raises(services.Invalid) as caught:
        services.save_provider(name="a", values={"max_in_flight": 3}, expected_revision=9, **BY_ADA)

    assert caught.value.param == "expected_revision"


# --- providers and credentials ---


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"kind": "nope"}, "kind"),
        ({"kind": "azure_openai"}, "base_url"),
        ({"kind": "openai", "base_url": "ftp://x/v1"}, "base_url"),
        ({"kind": "openai", "base_url": "https://u:p@x/v1"}, "base_url"),
        ({"kind": "openai", "base_url": "https://x/v1?key=1"}, "base_url"),
        ({"kind": "openai", "base_url": "https://x:y/v1"}, "base_url"),
        ({"kind": "openai", "configured_models": [" x"]}, "configured_models"),
        ({"kind": "openai", "options": {"a": 1}}, "options"),
        ({"kind": "openai", "connect_timeout_s": 0}, "connect_timeout_s"),
        ({"kind": "openai", "max_in_flight": 0}, "max_in_flight"),
        ({"kind": "openai", "credential": "${HOME}"}, "credential"),
        ({"kind": "openai", "nonsense": 1}, "nonsense"),
    ],
)
def test_provider_with_a_bad_value_is_refused_with_its_name(values, param):
    """T41: what cannot be used is refused where it is written."""
    with pytest.raises(services.Invalid) as caught:
        services.save_provider(name="p", values=values, **BY_ADA)

    assert caught.value.param == param
    assert models.Provider.objects.count() == 0


def test_provider_name_has_no_slash():
    with pytest.raises(services.Invalid) as caught:
        services.save_provider(name="a/b", values={"kind": "openai"}, **BY_ADA)

    assert caught.value.param == "name"


def test_base_url_may_name_a_host_without_a_dot():
    row = services.save_provider(
        name="p", values={"kind": "openai_compatible", "base_url": "http://vllm_a:8000/v1/"}, **BY_ADA
    )

    assert row.base_url == "http://vllm_a:8000/v1"


def test_typed_key_is_stored_encrypted_and_never_in_the_revision(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    services.save_provider(name="p", values={"kind": "openai", "credential": "sk-secret-abcf3a"}, **BY_ADA)

    row = models.Provider.objects.get()
    assert (row.credential_ref, row.credential_hint) == ("", "…f3a")
    assert "sk-secret" not in row.credential_encrypted
    assert last().changes[0]["after"]["credential"] == "set …f3a"
    assert "sk-secret" not in str(last().changes)
    assert snapshot.load().providers["p"].api_key == "sk-secret-abcf3a"


def test_replaced_key_with_the_same_ending_is_still_a_revision(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    services.save_provider(name="p", values={"kind": "openai", "credential": "sk-secret-abcf3a"}, **BY_ADA)

    services.save_provider(name="p", values={"credential": "sk-another-f3a"}, **BY_ADA)
    services.save_provider(name="p", values={"credential": "sk-another-f3a"}, **BY_ADA)

    assert queries.head_revision() == 2
    assert last().changes == [
        {"object": "provider/p", "field": "credential", "before": "set …f3a", "after": "changed …f3a"}
    ]


def test_typed_key_without_encryption_keys_is_refused_with_a_hint(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = []

    with pytest.raises(services.Invalid) as caught:
        services.save_provider(
            name="p", values={"kind": "openai", "credential": "sk-secret-abcf3a"}, **BY_ADA
        )

    assert caught.value.param == "credential"
    assert "GATEWAY_ENCRYPTION_KEYS" in caught.value.message


def test_another_host_needs_the_credential_again():
    services.save_provider(name="p", values={"kind": "openai", "credential": "${A_KEY}"}, **BY_ADA)

    services.save_provider(name="p", values={"base_url": "https://api.openai.com/v2"}, **BY_ADA)
    with pytest.raises(services.Invalid) as caught:
        services.save_provider(name="p", values={"base_url": "https://evil.example/v1"}, **BY_ADA)
    services.save_provider(
        name="p", values={"base_url": "https://eu.example/v1", "credential": "${A_KEY}"}, **BY_ADA
    )

    assert (caught.value.param, caught.value.code) == ("credential", "credential_required")


def test_rotation_encrypts_stored_keys_anew(settings):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.GATEWAY_ENCRYPTION_KEYS = [old]
    services.save_provider(name="p", values={"kind": "openai", "credential": "sk-secret-abcf3a"}, **BY_ADA)
    settings.GATEWAY_ENCRYPTION_KEYS = [new, old]

    assert services.rotate_encryption() == 1

    settings.GATEWAY_ENCRYPTION_KEYS = [new]
    assert snapshot.load().providers["p"].api_key == "sk-secret-abcf3a"


def test_provider_in_use_is_not_deleted(two_pools):
    factories.AliasFactory(name="short", target="a/x")

    with pytest.raises(services.Conflict) as caught:
        services.delete_provider(name="a", **BY_ADA)

    assert caught.value.details == ("pool one", "pool two", "alias short")


@pytest.mark.parametrize(
    "delete",
    [
        lambda: services.delete_provider(name="x", **BY_ADA),
        lambda: services.delete_pool(canonical_model="x", **BY_ADA),
        lambda: services.delete_alias(name="x", **BY_ADA),
        lambda: services.revoke_client_key(key_id=9, **BY_ADA),
        lambda: services.update_admin_token(token_id=9, values={}, **BY_ADA),
        lambda: services.revert_revision(number=9, **BY_ADA),
    ],
)
def test_write_about_a_name_that_does_not_exist_is_refused(delete):
    """T24: nothing is written about what is not there."""
    with pytest.raises(services.NotFound):
        delete()

    assert queries.head_revision() == 0


# --- pools, aliases, defaults ---


def test_pool_and_its_candidates_are_one_revision():
    for name in "ab":
        factories.ProviderFactory(name=name)

    services.save_pool(
        canonical_model="m",
        values={"strategy": "weighted_round_robin"},
        candidates=[
            {"provider_name": "a", "model": "x", "weight": 10},
            {"provider_name": "b", "model": "y", "priority": 2, "enabled": False, "switch_reason": "later"},
        ],
        **BY_ADA,
    )

    table = snapshot.load()
    assert table.revision == 1
    assert last().summary == "Added pool m"
    assert [(c.selector, c.weight, c.priority, c.switch.enabled) for c in table.pools["m"].candidates] == [
        ("a/x", 10, 1, True),
        ("b/y", 1, 2, False),
    ]
    assert candidate("m", "b").switch_updated_by == "ada"


def test_saving_a_pool_replaces_its_candidates_and_keeps_their_switches(two_pools):
    services.set_switch(
        target=SwitchTarget("pool_candidate", "b", "one", "m"), enabled=False, reason="why", **BY_ADA
    )

    services.save_pool(
        canonical_model="one",
        values={},
        candidates=[{"provider_name": "b", "model": "m", "weight": 7}, {"provider_name": "b", "model": "n"}],
        **BY_ADA,
    )

    rows = models.PoolCandidate.objects.filter(pool__canonical_model="one").order_by("model")
    assert [(row.model, row.weight, row.enabled, row.switch_reason) for row in rows] == [
        ("m", 7, False, "why"),
        ("n", 1, True, ""),
    ]
    assert (
        last().summary
        == "Removed candidate a/m of one; changed weight of candidate b/m of one; added candidate b/n of one"
    )


@pytest.mark.parametrize(
    ("candidates", "param"),
    [
        ([], "candidates"),
        ([{"provider_name": "zzz", "model": "m"}], "candidates.0.provider_name"),
        ([{"provider_name": "a", "model": " "}], "candidates.0.model"),
        ([{"provider_name": "a", "model": "m", "weight": 0}], "candidates.0.weight"),
        ([{"provider_name": "a", "model": "m", "priority": -1}], "candidates.0.priority"),
        ([{"provider_name": "a", "model": "m"}, {"provider_name": "a", "model": "m"}], "candidates.1"),
    ],
)
def test_pool_with_bad_candidates_is_refused(candidates, param):
    """T41, T13: with the place of what is wrong."""
    factories.ProviderFactory(name="a")

    with pytest.raises(services.Invalid) as caught:
        services.save_pool(canonical_model="m", values={}, candidates=candidates, **BY_ADA)

    assert caught.value.param == param
    assert models.ModelPool.objects.count() == 0


@pytest.mark.parametrize(
    "values",
    [
        {"failover_on_statuses": [600]},
        {"failover_on_statuses": "500"},
        {"failover_max_attempts": 0},
        {"session_affinity_ttl_s": 0},
        {"strategy": "random"},
        {"when_all_blocked": "shrug"},
        {"session_affinity": "yes"},
    ],
)
def test_policy_out_of_range_is_refused(two_pools, values):
    """T41: in pools and in the defaults."""
    for write in (
        lambda: services.save_pool(canonical_model="one", values=values, **BY_ADA),
        lambda: services.save_defaults(values=values, **BY_ADA),
    ):
        with pytest.raises(services.Invalid) as caught:
            write()
        assert caught.value.param == next(iter(values))


def test_partial_defaults_keep_the_other_defaults():
    """T40: booleans included."""
    services.save_defaults(values={"failover_max_attempts": 5}, **BY_ADA)

    policy = snapshot.load().defaults
    assert (policy.failover.enabled, policy.failover.max_attempts) == (True, 5)
    assert policy.failover.retry_on_model_errors is True
    assert policy.session_affinity is True


@pytest.mark.parametrize(
    ("name", "target", "param"),
    [
        ("one", "two", "name"),
        ("x", "nothing", "target"),
        ("x", "zzz/m", "target"),
        ("x", "short", "target"),
    ],
)
def test_alias_that_leads_nowhere_is_refused(two_pools, name, target, param):
    """T12: an alias points at a canonical name or an exact name, in one step."""
    services.save_alias(name="short", target="one", **BY_ADA)

    with pytest.raises(services.Invalid) as caught:
        services.save_alias(name=name, target=target, **BY_ADA)

    assert caught.value.param == param


def test_pool_is_not_created_under_the_name_of_an_alias(two_pools):
    """T12: the other way round too."""
    services.save_alias(name="short", target="a/m", **BY_ADA)

    with pytest.raises(services.Invalid):
        services.save_pool(
            canonical_model="short", values={}, candidates=[{"provider_name": "a", "model": "m"}], **BY_ADA
        )


def test_pool_that_an_alias_points_at_is_not_deleted(two_pools):
    services.save_alias(name="short", target="one", **BY_ADA)

    with pytest.raises(services.Conflict) as caught:
        services.delete_pool(canonical_model="one", **BY_ADA)
    services.delete_alias(name="short", **BY_ADA)
    services.delete_pool(canonical_model="one", **BY_ADA)

    assert caught.value.details == ("alias short",)
    assert last().summary == "Removed pool one"


# --- switches ---


def test_switch_of_a_candidate_belongs_to_its_pool(two_pools):
    """T16: the same pair in another pool is untouched."""
    result = services.set_switch(
        target=SwitchTarget("Pool_Candidate", "a", "one", "m"), enabled=False, reason="slow", **BY_ADA
    )

    assert result.key == "pool_candidate/one/a/m"
    assert (candidate("one").enabled, candidate("two").enabled) == (False, True)
    assert (candidate("one").switch_reason, candidate("one").switch_updated_by) == ("slow", "ada")
    assert last().summary == "Disabled candidate a/m of one"
    assert result.warnings == ("one has one selectable candidate left.",)


def test_switches_of_a_provider_and_a_pool_of_one_name_are_two():
    """T17, T18: keys are derived, and unique across kinds."""
    factories.PoolCandidateFactory(
        pool=factories.ModelPoolFactory(canonical_model="x"),
        provider=factories.ProviderFactory(name="x"),
        model="m/1",
    )

    keys = [
        services.set_switch(target=target, enabled=True, **BY_ADA).key
        for target in (
            SwitchTarget("provider", "x"),
            SwitchTarget("canonical_model", canonical_model="x"),
            SwitchTarget("pool_candidate", "x", "x", "m/1"),
        )
    ]

    assert keys == ["provider/x", "canonical_model/x", "pool_candidate/x/x/m%2F1"]
    assert [services.switch_key(_find(key)) for key in keys] == keys


def _find(key):
    from routing.services.switches import find

    return find(SwitchTarget.from_key(key))


def test_updated_at_moves_only_when_something_changed(two_pools):
    """T20: the same switch again leaves the timestamps and the revision."""
    services.set_switch(target=provider_target("b"), enabled=False, reason="x", **BY_ADA)
    before = models.Provider.objects.get(name="b")

    result = services.set_switch(target=provider_target("b"), enabled=False, reason="x", **BY_ADA)

    after = models.Provider.objects.get(name="b")
    assert (after.switch_updated_at, after.switch_created_at) == (
        before.switch_updated_at,
        before.switch_created_at,
    )
    assert (result.changed, result.revision) == (False, 1)


@pytest.mark.parametrize(
    ("target", "param"),
    [
        (SwitchTarget("provider", "zzz"), "provider_name"),
        (SwitchTarget("provider"), "provider_name"),
        (SwitchTarget("canonical_model", canonical_model="zzz"), "canonical_model"),
        (SwitchTarget("pool_candidate", "a", "zzz", "m"), "canonical_model"),
        (SwitchTarget("pool_candidate", "a", "one", "zzz"), "model"),
        (SwitchTarget("pool_candidate", "a", "one"), "model"),
        (SwitchTarget("pool_candidate", "zzz", "one", "m"), "provider_name"),
        (SwitchTarget("pool_candidate", "a", "", "zzz"), "model"),
        (SwitchTarget("pool_candidate", "a", "", "m"), "canonical_model"),
        (SwitchTarget("galaxy"), "kind"),
    ],
)
def test_switch_of_what_does_not_exist_is_refused(two_pools, target, param):
    """T24: with the name that is wrong."""
    with pytest.raises(services.Invalid) as caught:
        services.set_switch(target=target, enabled=False, **BY_ADA)

    assert caught.value.param == param
    assert queries.head_revision() == 0


def test_switch_of_a_pair_that_is_in_one_pool_needs_no_pool_name(two_pools):
    result = services.set_switch(target=SwitchTarget("pool_candidate", "b", "", "m"), enabled=False, **BY_ADA)

    assert result.key == "pool_candidate/one/b/m"


def test_emptying_a_pool_needs_confirmation(two_pools):
    with pytest.raises(services.WouldEmptyPool) as caught:
        services.set_switch(target=provider_target("a"), enabled=False, **BY_ADA)
    with pytest.raises(services.WouldEmptyPool):
        services.set_switch(target=provider_target("a"), enabled=False, confirm=["one"], **BY_ADA)
    result = services.set_switch(target=provider_target("a"), enabled=False, confirm=["two"], **BY_ADA)

    assert caught.value.pools == ("two",)
    assert [pool["canonical_model"] for pool in caught.value.impact["pools"]] == ["one", "two"]
    assert result.warnings == (
        "one has one selectable candidate left.",
        "two has no selectable candidate left.",
    )


def test_removing_the_last_candidate_that_is_on_needs_confirmation(two_pools):
    services.set_switch(target=SwitchTarget("pool_candidate", "b", "one", "m"), enabled=False, **BY_ADA)

    with pytest.raises(services.WouldEmptyPool):
        services.save_pool(
            canonical_model="one", values={}, candidates=[{"provider_name": "b", "model": "m"}], **BY_ADA
        )


def test_switching_the_canonical_model_off_needs_no_confirmation(two_pools):
    services.set_switch(
        target=SwitchTarget("canonical_model", canonical_model="two"), enabled=False, **BY_ADA
    )

    assert models.ModelPool.objects.get(canonical_model="two").enabled is False


def test_timed_switch_keeps_the_value_it_returns_to(two_pools):
    first = services.set_switch(target=provider_target("b"), enabled=False, expires_in_s=60, **BY_ADA).row
    again = services.set_switch(target=provider_target("b"), enabled=False, expires_in_s=3600, **BY_ADA).row

    assert (first.switch_base, again.switch_base, again.enabled) == (True, True, False)
    assert again.switch_expires_at > first.switch_expires_at
    switch = snapshot.load().providers["b"].switch
    assert switch.value_at(again.switch_expires_at.timestamp() - 1) is False
    assert switch.value_at(again.switch_expires_at.timestamp()) is True


@pytest.mark.parametrize(
    "timing",
    [
        {"enabled": True, "expires_in_s": 60},
        {"enabled": False, "expires_at": datetime(2001, 1, 1, tzinfo=UTC)},
    ],
)
def test_expiry_that_is_past_or_changes_nothing_is_refused(two_pools, timing):
    with pytest.raises(services.Invalid) as caught:
        services.set_switch(target=provider_target("b"), **timing, **BY_ADA)

    assert caught.value.param == "expires_at"


def test_due_switch_is_written_by_the_system(two_pools):
    services.set_switch(target=provider_target("b"), enabled=False, expires_in_s=60, **BY_ADA)
    later = datetime.now(UTC) + timedelta(seconds=61)

    assert services.expire_due_switches() == 0
    assert services.expire_due_switches(later) == 1
    assert services.expire_due_switches(later) == 0

    row = models.Provider.objects.get(name="b")
    assert (row.enabled, row.switch_created_at, row.switch_expires_at) == (True, None, None)
    assert (last().number, last().source, last().actor) == (2, "system", "system")
    assert last().summary == "Enabled provider b"


def test_due_switch_over_a_disabled_row_goes_back_to_disabled(two_pools):
    services.set_switch(target=provider_target("b"), enabled=False, **BY_ADA)
    services.set_switch(target=provider_target("b"), enabled=True, expires_in_s=60, **BY_ADA)

    services.expire_due_switches(datetime.now(UTC) + timedelta(seconds=61))

    row = models.Provider.objects.get(name="b")
    assert (row.enabled, row.switch_expires_at) == (False, None)
    assert row.switch_created_at is not None


def test_cleared_switch_is_as_if_nobody_had_set_it(two_pools):
    services.set_switch(target=provider_target("b"), enabled=False, reason="x", **BY_ADA)

    services.clear_switch(target=SwitchTarget.from_key("provider/b"), **BY_ADA)

    row = models.Provider.objects.get(name="b")
    assert (row.enabled, row.switch_reason, row.switch_created_at) == (True, "", None)
    with pytest.raises(services.NotFound):
        services.clear_switch(target=SwitchTarget.from_key("provider/b"), **BY_ADA)
    with pytest.raises(services.NotFound):
        SwitchTarget.from_key("provider/b/c")
    with pytest.raises(services.NotFound):
        SwitchTarget.from_key("provider/b%00")
    with pytest.raises(services.NotFound):
        services.clear_switch(target=SwitchTarget.from_key("provider/zzz"), **BY_ADA)


# --- keys ---


def test_client_key_is_shown_once_and_found_by_its_digest():
    row, secret = services.create_client_key(
        values={"name": "app", "user_path": "team/a/", "models": ["gpt-*"]}, **BY_ADA
    )

    table = snapshot.load()
    assert table.callers[bytes.fromhex(row.digest)].user_path == "/team/a"
    assert secret not in str(last().changes)
    assert row.prefix == secret[:16]

    services.revoke_client_key(key_id=row.pk, **BY_ADA)
    assert snapshot.load().callers[bytes.fromhex(row.digest)].enabled is False
    assert last().summary == f"Disabled client key {row.pk}"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x", "models": ["a*b"]}, "models"),
        ({"name": "x", "models": "a"}, "models"),
        ({"name": "x", "user_path": "/a//b"}, "user_path"),
        ({"name": "x", "digest": "00"}, "digest"),
    ],
)
def test_client_key_with_a_bad_value_is_refused(values, param):
    with pytest.raises(services.Invalid) as caught:
        services.create_client_key(values=values, **BY_ADA)

    assert caught.value.param == param


def test_admin_token_is_made_and_revoked():
    row, secret = services.create_admin_token(values={"name": "ci", "read_only": True}, **BY_ADA)

    assert secret.startswith("sluice-admin-")
    assert (row.read_only, row.created_by) == (True, "ada")
    assert services.revoke_admin_token(token_id=row.pk, **BY_ADA).enabled is False


# --- documents ---


DESIRED = {
    "provider/p": {"kind": "openai", "base_url": "", "credential": "${A_KEY}"},
    "pool/m": {"strategy": "weighted_round_robin"},
    "candidate/m/p/x": {"priority": 1, "weight": 3},
    "alias/short": {"target": "m"},
    "defaults": {"failover_max_attempts": 2},
}


def test_document_is_applied_in_one_revision_and_again_changes_nothing():
    first = services.apply_document(desired=DESIRED, actor=ADA, source="import")
    again = services.apply_document(desired=DESIRED, actor=ADA, source="import")

    assert [(change.object, change.field) for change in first.changes] == [
        ("alias/short", "*"),
        ("candidate/m/p/x", "*"),
        ("defaults", "failover_max_attempts"),
        ("pool/m", "*"),
        ("provider/p", "*"),
    ]
    assert (first.revision, again.revision, again.changes) == (1, 1, ())


def test_document_writes_only_what_differs():
    services.apply_document(desired=DESIRED, actor=ADA, source="import")
    provider = models.Provider.objects.values().get()
    desired = DESIRED | {"candidate/m/p/x": {"priority": 2}}

    applied = services.apply_document(desired=desired, actor=ADA, source="import")

    assert [(one.object, one.field, one.after) for one in applied.changes] == [
        ("candidate/m/p/x", "priority", 2)
    ]
    assert models.Provider.objects.values().get() == provider


def test_document_dry_run_tells_the_same_changes():
    dry = services.apply_document(desired=DESIRED, dry_run=True, actor=ADA, source="import")
    assert models.Provider.objects.count() == 0

    assert services.apply_document(desired=DESIRED, actor=ADA, source="import").changes == dry.changes


def test_document_leaves_switches_alone_and_deletes_only_with_prune(two_pools):
    services.set_switch(target=provider_target("b"), enabled=False, **BY_ADA)
    desired = DESIRED | {"provider/b": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}}

    services.apply_document(desired=desired, actor=ADA, source="import")
    assert models.Provider.objects.get(name="b").enabled is False
    assert models.ModelPool.objects.count() == 3

    services.apply_document(desired=desired, prune=True, actor=ADA, source="import")
    assert sorted(models.Provider.objects.values_list("name", flat=True)) == ["b", "p"]
    assert list(models.ModelPool.objects.values_list("canonical_model", flat=True)) == ["m"]


def test_document_stores_literal_keys_and_keeps_stored_ones(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    desired = {"provider/p": {"kind": "openai", "credential": "set …f3a"}}

    services.apply_document(desired=desired, secrets={"p": "sk-secret-abcf3a"}, actor=ADA, source="import")
    services.apply_document(desired=desired, actor=ADA, source="import")
    services.apply_document(desired={"provider/p": {"kind": "openai"}}, actor=ADA, source="import")

    assert snapshot.load().providers["p"].api_key == "sk-secret-abcf3a"
    assert queries.head_revision() == 1


def test_document_that_is_refused_names_the_object():
    with pytest.raises(services.Invalid) as caught:
        services.apply_document(
            desired=DESIRED | {"alias/bad": {"target": "zzz"}}, actor=ADA, source="import"
        )

    assert caught.value.message == (
        'alias/bad target: Unknown target "zzz": neither a pool nor provider/model of a known provider.'
    )
    assert models.Provider.objects.count() == 0


# --- undo ---


@pytest.mark.parametrize(
    "write",
    [
        lambda: services.save_provider(name="a", values={"max_in_flight": 9}, **BY_ADA),
        lambda: services.set_switch(target=provider_target("b"), enabled=False, reason="x", **BY_ADA),
        lambda: services.set_switch(target=provider_target("b"), enabled=False, expires_in_s=60, **BY_ADA),
        lambda: services.delete_pool(canonical_model="one", **BY_ADA),
        lambda: services.save_alias(name="short", target="one", **BY_ADA),
        lambda: services.save_defaults(values={"strategy": "weighted_round_robin"}, **BY_ADA),
        lambda: services.apply_document(desired=DESIRED, actor=ADA, source="import"),
        lambda: services.save_pool(
            canonical_model="one", values={}, candidates=[{"provider_name": "b", "model": "n"}], **BY_ADA
        ),
    ],
)
def test_undo_of_a_revision_brings_the_document_back(two_pools, write):
    before = queries.read_document()
    write()
    number = queries.head_revision()

    services.revert_revision(number=number, **BY_ADA)

    assert queries.read_document() == before
    assert (last().number, last().reverts, last().reason) == (number + 1, number, f"Undo revision {number}.")


def test_revert_of_a_document_puts_aliases_back_before_what_they_led_to_goes(two_pools):
    services.save_alias(name="fast", target="one", **BY_ADA)
    services.save_alias(name="exact", target="a/m", **BY_ADA)
    wanted = {
        "provider/new": {"kind": "openai"},
        "pool/three": {},
        "candidate/three/new/m": {"priority": 1, "weight": 1},
        "alias/fast": {"target": "three"},
        "alias/exact": {"target": "new/m"},
    }
    before = queries.read_document()
    applied = services.apply_document(desired=wanted, **BY_ADA)

    services.revert_revision(number=applied.revision, **BY_ADA)

    assert queries.read_document() == before


def test_revert_of_a_document_that_made_a_pool_of_an_alias_makes_the_alias_again(two_pools):
    services.save_alias(name="three", target="one", **BY_ADA)
    services.save_alias(name="four", target="two", **BY_ADA)
    services.save_pool(
        canonical_model="five", values={}, candidates=[{"provider_name": "a", "model": "m"}], **BY_ADA
    )
    before = queries.read_document()
    wanted = {key: fields for key, fields in before.items() if key not in {"alias/three", "pool/five"}}
    del wanted["candidate/five/a/m"]
    wanted |= {"pool/three": {}, "candidate/three/a/m": {"priority": 1, "weight": 1}}
    wanted |= {"alias/five": {"target": "one"}, "alias/four": {"target": "three"}}
    applied = services.apply_document(desired=wanted, prune=True, **BY_ADA)

    services.revert_revision(number=applied.revision, **BY_ADA)

    assert queries.read_document() == before


@pytest.mark.parametrize("sort", ["client_key", "admin_token"])
def test_revert_of_a_revocation_makes_the_key_valid_again(sort):
    create = getattr(services, f"create_{sort}")
    revoke = getattr(services, f"revoke_{sort}")
    row, _ = create(values={"name": "app"}, **BY_ADA)
    revoke(**{"key_id" if sort == "client_key" else "token_id": row.pk}, **BY_ADA)

    applied = services.revert_revision(number=2, **BY_ADA)

    assert [(one.field, one.before, one.after) for one in applied.changes] == [("enabled", False, True)]
    assert type(row).objects.get().enabled is True


def test_undo_of_an_undo_is_a_redo(two_pools):
    services.set_switch(target=provider_target("b"), enabled=False, reason="x", **BY_ADA)
    after = queries.read_document()

    services.revert_revision(number=1, **BY_ADA)
    services.revert_revision(number=2, **BY_ADA)

    assert queries.read_document() == after


def test_undo_is_refused_when_the_field_changed_since(two_pools):
    services.save_provider(name="a", values={"max_in_flight": 9}, **BY_ADA)
    services.save_provider(name="a", values={"max_in_flight": 8}, **BY_ADA)

    with pytest.raises(services.Conflict) as caught:
        services.revert_revision(number=1, **BY_ADA)

    assert caught.value.details == (
        {"object": "provider/a", "field": "max_in_flight", "expected": 9, "current": 8},
    )


def test_undo_does_not_touch_credentials(two_pools):
    services.save_provider(name="a", values={"credential": "${A_KEY}", "max_in_flight": 9}, **BY_ADA)
    services.revert_revision(number=1, **BY_ADA)
    services.save_provider(name="a", values={"credential": "${B_KEY}"}, **BY_ADA)

    row = models.Provider.objects.get(name="a")
    assert (row.credential_ref, row.max_in_flight) == ("${B_KEY}", None)
    with pytest.raises(services.Invalid) as caught:
        services.revert_revision(number=3, **BY_ADA)
    assert caught.value.code == "nothing_to_revert"


def test_undo_of_a_new_key_is_refused():
    services.create_client_key(values={"name": "app"}, **BY_ADA)

    with pytest.raises(services.Invalid, match="revoke it"):
        services.revert_revision(number=1, **BY_ADA)


# --- probes ---


def test_probe_is_no_revision_and_reaches_the_table():
    factories.ProviderFactory(name="p")
    ok = services.ProbeResult(DiscoveryState.OK, {"m": ModelInfo(5, "acme"), "n": ModelInfo()})

    assert services.record_probe(provider="p", result=ok) is True
    assert services.record_probe(provider="p", result=ok) is False

    head = models.RoutingHead.objects.get()
    assert (head.revision, head.health_version) == (0, 1)
    loaded = snapshot.load().providers["p"]
    assert loaded.discovery.models == frozenset({"m", "n"})
    assert loaded.model_info["m"] == ModelInfo(5, "acme")


def test_failed_probes_are_counted_and_keep_the_inventory():
    factories.ProviderFactory(name="p")
    services.record_probe(provider="p", result=services.ProbeResult(DiscoveryState.OK, {"m": ModelInfo()}))
    failed = services.ProbeResult(DiscoveryState.FAILED, error="refused")
    first = datetime(2026, 1, 1, tzinfo=UTC)

    services.record_probe(provider="p", result=failed, now=first)
    services.record_probe(provider="p", result=failed)

    discovery = snapshot.load().providers["p"].discovery
    assert (discovery.failures, discovery.first_failed_at, discovery.error) == (
        2,
        first.timestamp(),
        "refused",
    )
    assert discovery.models == frozenset({"m"})

    services.record_probe(provider="p", result=services.ProbeResult(DiscoveryState.OK, {"n": ModelInfo()}))
    discovery = snapshot.load().providers["p"].discovery
    assert (discovery.failures, discovery.first_failed_at) == (0, None)
    assert discovery.models == frozenset({"n"})


def test_probe_of_a_deleted_provider_is_refused():
    with pytest.raises(services.NotFound):
        services.record_probe(provider="p", result=services.ProbeResult(DiscoveryState.OK))
