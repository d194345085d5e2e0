"""Statuses, reasons and runtime classes: the tables of the design, row by row."""

from dataclasses import replace
from math import inf

import pytest

from routing.eligibility import config_primary, evaluate
from routing.provider_class import provider_class, shown_models
from routing.types import (
    NO_HEALTH,
    Caller,
    Circuit,
    Discovery,
    DiscoveryState,
    Endpoint,
    HealthView,
    InventoryMode,
    PoolPolicy,
    Provider,
    Reason,
    Strategy,
    Switch,
    WhenAllBlocked,
)
from tests.routing.tables import NOW, OFF, pool, provider, table

FAIL = PoolPolicy(when_all_blocked=WhenAllBlocked.FAIL)
LAST_RESORT = PoolPolicy(when_all_blocked=WhenAllBlocked.LAST_RESORT)
OPEN = Circuit(failures=5, openings=1, open_until=NOW + 30, cause="503 overloaded.")
HALF_OPEN = replace(OPEN, open_until=NOW - 1)
TRIAL = replace(HALF_OPEN, trial_until=NOW + 5)
COOLING = Circuit(cooldown_until=NOW + 10)
STATED = Circuit(cooldown_until=NOW + 20, stated_until=NOW + 20)


def a(circuit):
    return HealthView(circuits={("a", "m"): circuit})


def codes(state):
    return [note.code.value for note in state.reasons]


def first(evaluation):
    return evaluation.states[0]


def look(*, health=NO_HEALTH, policy=FAIL, providers=None, candidates=("a/m", "b/m"), now=NOW, **kwargs):
    switch = kwargs.pop("switch", Switch())
    mode = kwargs.pop("mode", InventoryMode.FALLBACK)
    of = pool("canon", *candidates, policy=policy, switch=switch)
    made = table(*(providers or (provider("a", "m"), provider("b", "m"))), of, mode=mode)
    return evaluate(of, made, health, now=now, **kwargs)


KEY = Caller("1", "key", models=("b/*",))


@pytest.mark.parametrize(
    ("case", "status", "reasons", "selectable"),
    [
        ({}, "enabled", [], True),
        ({"candidates": (("a/m", 1, 1, OFF), "b/m")}, "disabled_manual", ["candidate_disabled"], False),
        (
            {"providers": (provider("a", "m", switch=OFF), provider("b", "m"))},
            "disabled_manual",
            ["provider_disabled"],
            False,
        ),
        ({"switch": OFF}, "disabled_effective", ["canonical_model_disabled"], False),
        (
            {"providers": (provider("a", "other"), provider("b", "m"))},
            "missing_model",
            ["missing_model"],
            False,
        ),
        (
            {"providers": (provider("a", state=DiscoveryState.FAILED, failures=3), provider("b", "m"))},
            "unhealthy_runtime",
            ["provider_unhealthy"],
            False,
        ),
        ({"health": a(OPEN)}, "unhealthy_runtime", ["circuit_open"], False),
        ({"health": a(COOLING)}, "unhealthy_runtime", ["cooling_down"], False),
        ({"health": a(TRIAL)}, "unhealthy_runtime", ["trial_in_flight"], False),
        ({"health": HealthView(busy=frozenset({"a"}))}, "unhealthy_runtime", ["provider_busy"], False),
        ({"health": HealthView(credentials={"a": OPEN})}, "unhealthy_runtime", ["circuit_open"], False),
        ({"caller": KEY, "requested": "canon"}, "ineligible", ["caller_not_allowed"], False),
        (
            {
                "providers": (
                    provider("a", "m", endpoints=frozenset({Endpoint.CHAT})),
                    provider("b", "m"),
                ),
                "endpoint": Endpoint.EMBEDDINGS,
            },
            "ineligible",
            ["unsupported_endpoint"],
            False,
        ),
        (
            {"providers": (provider("a", state=DiscoveryState.UNPROBED), provider("b", "m"))},
            "degraded_runtime",
            ["provider_degraded"],
            True,
        ),
        ({"health": a(HALF_OPEN)}, "degraded_runtime", ["circuit_half_open"], True),
    ],
)
def test_candidate_status_follows_the_table(case, status, reasons, selectable):
    """T25, T26: each condition has its status and its reason."""
    state = first(look(**case))
    assert (state.status, codes(state), state.selectable) == (status, reasons, selectable)


def test_all_reasons_are_listed_in_their_order():
    """T26: every reason, not only the first."""
    providers = (
        provider(
            "a", state=DiscoveryState.FAILED, failures=4, configured=["x"], switch=OFF, endpoints=frozenset()
        ),
        provider("b", "m"),
    )
    health = HealthView(
        circuits={("a", "m"): replace(OPEN, cooldown_until=NOW + 5)},
        credentials={"a": TRIAL},
        busy=frozenset({"a"}),
    )
    state = first(
        look(
            providers=providers,
            health=health,
            candidates=(("a/m", 1, 1, OFF), "b/m"),
            switch=OFF,
            caller=KEY,
            requested="canon",
        )
    )
    assert codes(state) == [
        "candidate_disabled",
        "provider_disabled",
        "canonical_model_disabled",
        "caller_not_allowed",
        "unsupported_endpoint",
        "missing_model",
        "circuit_open",
        "cooling_down",
        "trial_in_flight",
        "provider_busy",
        "provider_degraded",
    ]
    assert state.status == "disabled_manual"


def test_reason_messages_are_sentences_with_the_cause():
    state = first(look(health=a(OPEN)))
    (note,) = state.reasons
    assert note.message == "The circuit is open: 503 overloaded. Until 00:17:10 UTC."


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ({}, "enabled"),
        ({"switch": OFF}, "disabled_manual"),
        ({"candidates": ()}, "unavailable"),
        ({"health": a(OPEN)}, "degraded"),
        ({"health": a(HALF_OPEN)}, "degraded"),
        ({"health": a(OPEN), "candidates": ("a/m",)}, "unavailable"),
    ],
)
def test_pool_status_follows_the_table(case, status):
    """T25: a pool with an unhealthy candidate does not look whole. T11: an empty pool is unavailable."""
    assert look(**case).status == status


def test_disabled_provider_is_disabled_not_degraded():
    """T23: switching a provider off takes it out, whatever its health."""
    down = provider("a", state=DiscoveryState.FAILED, failures=9, switch=OFF)
    state = first(look(providers=(down, provider("b", "m"))))
    assert (state.status, state.provider_enabled, state.effective_enabled) == (
        "disabled_manual",
        False,
        False,
    )


def test_candidate_switch_belongs_to_its_pool():
    """T16: the same pair in another pool is untouched."""
    assert first(look(candidates=(("a/m", 1, 1, OFF),))).selectable is False
    assert first(look(candidates=("a/m",))).selectable is True


def test_missing_provider_and_missing_model_have_their_own_reasons():
    """T13: a model that is not in the inventory is skipped with its own reason."""
    evaluation = look(candidates=("a/gone", "ghost/m", "b/m"))
    assert [(s.status, codes(s)) for s in evaluation.states] == [
        ("missing_model", ["missing_model"]),
        ("disabled_manual", ["provider_disabled"]),
        ("enabled", []),
    ]


def test_either_list_declares_a_candidates_model_and_none_blocks_nothing():
    providers = (provider("a", "x", configured=["m"]), provider("b"))
    assert [s.selectable for s in look(providers=providers).states] == [True, True]


@pytest.mark.parametrize(
    ("discovered", "configured", "mode", "shown"),
    [
        (["d"], ["c"], InventoryMode.FALLBACK, {"d"}),
        ([], ["c"], InventoryMode.FALLBACK, {"c"}),
        (["d"], ["c"], InventoryMode.ALLOWLIST, {"c"}),
        (["d"], [], InventoryMode.ALLOWLIST, set()),
    ],
)
def test_shown_models_follow_the_mode(discovered, configured, mode, shown):
    assert shown_models(provider("a", *discovered, configured=configured), mode) == shown


OKAY, FAILED = DiscoveryState.OK, DiscoveryState.FAILED


@pytest.mark.parametrize(
    ("made", "mode", "health", "expected"),
    [
        (provider("a", "m"), "fallback", NO_HEALTH, "healthy"),
        (provider("a"), "fallback", NO_HEALTH, "degraded"),
        (provider("a", state=DiscoveryState.UNPROBED), "fallback", NO_HEALTH, "degraded"),
        (provider("a", state=DiscoveryState.UNSUPPORTED), "fallback", NO_HEALTH, "healthy"),
        (provider("a", "m", state=FAILED, failures=9), "fallback", NO_HEALTH, "degraded"),
        (provider("a", configured=["m"], state=FAILED, failures=9), "fallback", NO_HEALTH, "degraded"),
        (provider("a", state=FAILED, failures=2), "fallback", NO_HEALTH, "degraded"),
        (provider("a", state=FAILED, failures=3), "fallback", NO_HEALTH, "unhealthy"),
        (
            provider("a", state=FAILED, failures=3),
            "fallback",
            HealthView(last_success_at={"a": 899.0}),
            "unhealthy",
        ),
        (
            provider("a", state=FAILED, failures=3),
            "fallback",
            HealthView(last_success_at={"a": 901.0}),
            "degraded",
        ),
        (provider("a", state=FAILED, failures=9), "allowlist", NO_HEALTH, "healthy"),
        (provider("a", "m"), "allowlist", HealthView(credentials={"a": OPEN}), "unhealthy"),
        (provider("a", "m"), "fallback", HealthView(credentials={"a": HALF_OPEN}), "degraded"),
        (provider("a", "m"), "fallback", HealthView(credentials={"a": Circuit()}), "healthy"),
        (provider("a", "m", credential_error="X is not set"), "fallback", NO_HEALTH, "unhealthy"),
    ],
)
def test_provider_class_follows_discovery_and_live_outcomes(made, mode, health, expected):
    """T27: models with an availability error are degraded. T28: live outcomes count. T29: one classifier."""
    assert provider_class(made, health, InventoryMode(mode), NOW)[0] == expected
    of = pool("canon", "a/m")
    state = first(evaluate(of, table(made, of, mode=InventoryMode(mode)), health, now=NOW))
    assert state.runtime == expected


def test_kind_without_a_models_list_is_healthy_unprobed():
    made = Provider("a", "perplexity", "http://x", discovery=Discovery())
    assert provider_class(made, NO_HEALTH, InventoryMode.FALLBACK, NOW)[0] == "healthy"


@pytest.mark.parametrize("circuit", [OPEN, TRIAL, COOLING])
def test_keep_last_keeps_a_sole_candidate_through_circuits(circuit):
    evaluation = look(health=a(circuit), policy=PoolPolicy(), candidates=("a/m",))
    state = first(evaluation)
    assert (state.selectable, state.status, codes(state)[-1]) == (
        True,
        "degraded_runtime",
        "last_candidate_kept",
    )
    assert evaluation.status == "degraded"


@pytest.mark.parametrize(
    "case",
    [
        {"health": a(STATED)},
        {"health": a(replace(STATED, openings=1, open_until=NOW + 3))},
        {"health": HealthView(busy=frozenset({"a"}))},
        {"providers": (provider("a", state=FAILED, failures=3),)},
        {"providers": (provider("a", "m", switch=OFF),)},
    ],
)
def test_keep_last_yields_to_what_a_circuit_did_not_do(case):
    assert look(policy=PoolPolicy(), candidates=("a/m",), **case).status == "unavailable"


def test_keep_last_keeps_the_one_whose_trial_comes_soonest():
    health = HealthView(circuits={("a", "m"): OPEN, ("b", "m"): replace(OPEN, open_until=NOW + 5)})
    evaluation = look(health=health, policy=PoolPolicy())
    assert [s.selectable for s in evaluation.states] == [False, True]


def test_keep_last_leaves_the_others_alone_while_one_can_serve():
    assert [s.selectable for s in look(health=a(OPEN), policy=PoolPolicy()).states] == [False, True]


def test_last_resort_tries_all_that_only_runtime_blocks():
    health = HealthView(
        circuits={("a", "m"): STATED, ("b", "m"): OPEN}, busy=frozenset({"d"}), credentials={"e": OPEN}
    )
    providers = tuple(provider(name, "m") for name in "abcde")
    candidates = ("a/m", "b/m", ("c/m", 3, 1, OFF), "d/m", "e/m")
    evaluation = look(health=health, policy=LAST_RESORT, providers=providers, candidates=candidates)
    assert [s.selectable for s in evaluation.states] == [True, True, False, False, True]


def test_fail_lets_circuits_take_the_last_candidate():
    evaluation = look(health=a(OPEN), candidates=("a/m",))
    assert (evaluation.status, evaluation.selectable, evaluation.recovers_at) == ("unavailable", (), NOW + 30)


def test_recovery_is_the_soonest_of_candidates_and_the_latest_of_reasons():
    health = HealthView(circuits={("a", "m"): replace(OPEN, cooldown_until=NOW + 50), ("b", "m"): COOLING})
    assert [s.recovers_at for s in look(health=health).states] == [NOW + 50, NOW + 10]
    assert look(health=health).recovers_at == NOW + 10


def test_recovery_is_unknown_where_one_reason_has_no_end():
    health = replace(a(OPEN), busy=frozenset({"a"}))
    assert first(look(health=health)).recovers_at is None


def test_expired_switch_counts_as_its_base():
    switch = Switch(enabled=False, expires_at=NOW + 5, base=True)
    before = look(candidates=(("a/m", 1, 1, switch),))
    assert (first(before).selectable, before.recovers_at, before.valid_until) == (False, NOW + 5, NOW + 5)
    after = look(candidates=(("a/m", 1, 1, switch),), now=NOW + 5)
    assert (first(after).selectable, after.valid_until) == (True, inf)


def test_valid_until_is_the_next_instant_of_anything_involved():
    health = HealthView(
        circuits={("a", "m"): replace(OPEN, cooldown_until=NOW + 12), ("z", "m"): COOLING},
        credentials={"b": replace(OPEN, open_until=NOW + 7)},
    )
    assert look(health=health).valid_until == NOW + 7
    assert look().valid_until == inf


def test_caller_restrictions_filter_candidates_by_qualified_name():
    """T15: what the key may not use is left out, the rest of the pool serves."""
    evaluation = look(caller=KEY, requested="canon")
    assert [c.selector for c in evaluation.selectable] == ["b/m"]
    by_name = look(caller=Caller("1", "key", models=("canon",)), requested="canon")
    assert [c.selector for c in by_name.selectable] == ["a/m", "b/m"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(Strategy.PRIORITY_FAILOVER, "a/m"), (Strategy.WEIGHTED_ROUND_ROBIN, "b/m")],
)
def test_config_primary_is_blind_to_state_and_health(strategy, expected):
    """T8: the strategy's own comparator over all candidates."""
    of = pool("canon", ("a/m", 1, 1, OFF), ("b/m", 2, 5, OFF), policy=PoolPolicy(strategy=strategy))
    primary = config_primary(of)
    assert primary is not None
    assert primary.selector == expected
    assert config_primary(pool("empty")) is None


def test_reason_vocabulary_is_in_its_fixed_order():
    assert [reason.value for reason in Reason] == [
        "candidate_disabled",
        "provider_disabled",
        "canonical_model_disabled",
        "caller_not_allowed",
        "unsupported_endpoint",
        "missing_model",
        "provider_unhealthy",
        "circuit_open",
        "cooling_down",
        "trial_in_flight",
        "provider_busy",
        "provider_degraded",
        "circuit_half_open",
        "last_candidate_kept",
    ]
