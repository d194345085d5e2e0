"""Names to matches, matches to plans, plans to decisions; refusals; the models list."""

from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import pytest

from routing.router import bind, decide, listed, match, plan
from routing.types import (
    NO_HEALTH,
    Affinity,
    Caller,
    Circuit,
    Endpoint,
    FailoverPolicy,
    HealthView,
    ModelInfo,
    PoolPolicy,
    Refusal,
    RouteRequest,
    RoutingTable,
    Strategy,
    Switch,
    WhenAllBlocked,
)
from tests.routing.tables import NOW, OFF, pool, provider, table

FAIL = PoolPolicy(when_all_blocked=WhenAllBlocked.FAIL)
WEIGHTED = PoolPolicy(strategy=Strategy.WEIGHTED_ROUND_ROBIN)
OPEN = Circuit(failures=5, openings=1, open_until=NOW + 30)


def route(
    made, name="canon", *, health=NO_HEALTH, pin=None, ticket=None, now=NOW, expose_exact=True, **fields
):
    planned = plan(made, health, RouteRequest(name, **fields), now=now, expose_exact=expose_exact)
    return decide(planned, decision_id="d", pin=pin, ticket=ticket)


def selectors(decision):
    return [candidate.selector for candidate in decision.order]


def refused(decision):
    assert decision.order == ()
    assert isinstance(decision.refusal, Refusal)
    return decision.refusal.status, decision.refusal.code


A, B = provider("a", "m", "x/y"), provider("b", "m", "only-b")
CANON = pool("canon", "a/m", "b/m")
TABLE = table(
    A,
    B,
    provider("off", "m", "secret", switch=OFF),
    CANON,
    pool("a/x/y", "b/m"),
    aliases={
        "nick": "canon",
        "direct": "b/only-b",
        "chain": "nick",
        "lost": "nowhere",
        "dead": "off/m",
        "gone": "a/gone",
    },
)


@pytest.mark.parametrize(
    ("name", "fields", "matched_by", "canonical", "order"),
    [
        ("canon", {}, "pool", "canon", ["a/m", "b/m"]),
        ("  canon ", {}, "pool", "canon", ["a/m", "b/m"]),
        ("nick", {}, "alias", "canon", ["a/m", "b/m"]),
        ("direct", {}, "alias", "", ["b/only-b"]),
        ("a/m", {}, "exact", "", ["a/m"]),
        ("a/x/y", {}, "pool", "a/x/y", ["b/m"]),
        ("m", {"provider": "b"}, "exact", "", ["b/m"]),
        ("x/y", {"provider": "a"}, "exact", "", ["a/x/y"]),
        ("only-b", {}, "bare", "", ["b/only-b"]),
        ("m", {}, "bare", "", ["a/m"]),
        ("x/y", {}, "bare", "", ["a/x/y"]),
    ],
)
def test_name_is_matched_in_the_documented_order(name, fields, matched_by, canonical, order):
    """T12: an alias may point at a canonical name. A pool named like an exact name hides it."""
    decision = route(TABLE, name, **fields)
    assert (decision.matched_by, decision.canonical_model, selectors(decision)) == (
        matched_by,
        canonical,
        order,
    )
    assert (decision.requested_model, decision.revision) == (name.strip(), 7)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("nope", {}, (404, "model_not_found")),
        ("CANON", {}, (404, "model_not_found")),
        ("chain", {}, (404, "model_not_found")),
        ("lost", {}, (404, "model_not_found")),
        ("gone", {}, (404, "model_not_found")),
        ("a/gone", {}, (404, "model_not_found")),
        ("ghost/m", {}, (404, "model_not_found")),
        ("secret", {}, (404, "model_not_found")),
        ("m", {"provider": "ghost"}, (404, "provider_not_found")),
        ("nick", {"provider": "a"}, (404, "model_not_found")),
        ("canon", {"provider": "a"}, (404, "model_not_found")),
        ("off/m", {}, (403, "provider_disabled")),
        ("m", {"provider": "off"}, (403, "provider_disabled")),
        ("dead", {}, (403, "provider_disabled")),
        ("", {}, (400, "missing_model")),
        ("   ", {}, (400, "missing_model")),
    ],
)
def test_name_that_cannot_be_routed_is_refused(name, fields, expected):
    """T23: a disabled provider is out everywhere: exact names, aliases, bare ids."""
    assert refused(route(TABLE, name, **fields)) == expected


@pytest.mark.parametrize(
    ("name", "fields"), [("a/m", {}), ("m", {}), ("m", {"provider": "a"}), ("off/m", {})]
)
def test_exact_names_can_be_switched_off(name, fields):
    assert refused(route(TABLE, name, expose_exact=False, **fields)) == (404, "model_not_found")


def test_aliases_still_reach_exact_names_when_those_are_switched_off():
    assert selectors(route(TABLE, "direct", expose_exact=False)) == ["b/only-b"]


def test_bare_id_goes_to_the_first_enabled_provider_by_name():
    timed = Switch(enabled=False, expires_at=NOW + 9, base=True)
    made = table(provider("a", "m", switch=timed), provider("b", "m"))
    planned = plan(made, NO_HEALTH, RouteRequest("m"), now=NOW)
    assert (planned.candidate_ids, planned.valid_until) == (("b/m",), NOW + 9)
    assert selectors(route(made, "m", now=NOW + 9)) == ["a/m"]


def test_match_tells_its_steps():
    found = match(TABLE, RouteRequest("nick"), now=NOW)
    assert not isinstance(found, Refusal)
    assert found.steps == ("alias 'nick' → 'canon'", "pool 'canon'")


def test_exact_name_is_one_attempt_without_affinity():
    """T36: a name with one candidate does not wander off to another model."""
    policy = PoolPolicy(strategy=Strategy.WEIGHTED_ROUND_ROBIN, when_all_blocked=WhenAllBlocked.LAST_RESORT)
    decision = route(table(A, B, defaults=policy), "a/m", session_key="s", ticket=3)
    assert selectors(decision) == ["a/m"]
    assert decision.policy == PoolPolicy(
        session_affinity=False,
        failover=FailoverPolicy(enabled=False, max_attempts=1),
        when_all_blocked=WhenAllBlocked.LAST_RESORT,
    )
    assert (decision.affinity, decision.pin_key, decision.slot) == (Affinity.NONE, None, None)


def test_pool_of_one_stays_with_its_candidate():
    """T36: nothing outside the pool is ever in the order."""
    assert selectors(route(table(A, B, pool("canon", "b/m")))) == ["b/m"]


def test_no_pools_configured_leaves_exact_names_and_the_list():
    """T10: an installation without pools works."""
    made = table(A)
    assert selectors(route(made, "a/m")) == ["a/m"]
    assert [line.id for line in listed(made, NO_HEALTH, now=NOW)] == ["a/m", "a/x/y"]
    assert listed(RoutingTable(), NO_HEALTH, now=NOW) == []


def test_empty_pool_is_a_clear_refusal():
    """T11: no index error, an answer."""
    decision = route(table(A, pool("canon")))
    assert refused(decision) == (503, "no_eligible_candidates")
    assert decision.refusal.message == "No candidate of the model 'canon' can be used now (it has none)."


def test_disabled_and_unavailable_are_different_answers():
    """T46: 404 for what an operator switched off, 503 with the soonest recovery for what will pass."""
    off = route(table(A, pool("canon", "a/m", switch=OFF)))
    assert (refused(off), off.refusal.retry_after_s) == ((404, "model_disabled"), None)
    health = HealthView(
        circuits={("a", "m"): OPEN, ("b", "m"): Circuit(cooldown_until=NOW + 12, stated_until=NOW + 12)}
    )
    down = route(table(A, B, pool("canon", "a/m", "b/m", policy=FAIL)), health=health)
    assert (refused(down), down.refusal.retry_after_s) == ((503, "no_eligible_candidates"), 12.0)
    assert down.refusal.type == "overloaded_error"
    assert [state.status.value for state in down.blocked] == ["unhealthy_runtime", "unhealthy_runtime"]


def test_all_candidates_switched_off_is_unavailable_not_disabled():
    """T46: only the canonical model's own switch makes it disabled."""
    made = table(A, pool("canon", ("a/m", 1, 1, OFF)))
    assert refused(route(made)) == (503, "no_eligible_candidates")


def test_kept_plan_counts_the_wait_from_the_moment_of_asking():
    made = table(A, pool("canon", "a/m", policy=FAIL))
    planned = plan(made, HealthView(circuits={("a", "m"): OPEN}), RouteRequest("canon"), now=NOW)
    assert decide(planned, decision_id="d").refusal.retry_after_s == 30.0
    assert decide(planned, decision_id="d", now=NOW + 20).refusal.retry_after_s == 10.0


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (HealthView(busy=frozenset({"a", "b"})), (429, "provider_busy")),
        (HealthView(busy=frozenset({"a"}), circuits={("b", "m"): OPEN}), (503, "no_eligible_candidates")),
    ],
)
def test_busy_is_said_only_when_nothing_else_blocks(health, expected):
    assert refused(route(table(A, B, pool("canon", "a/m", "b/m", policy=FAIL)), health=health)) == expected


def test_busy_ignores_candidates_that_are_out_for_good():
    made = table(A, B, pool("canon", "a/m", ("b/m", 2, 1, OFF)))
    assert refused(route(made, health=HealthView(busy=frozenset({"a"})))) == (429, "provider_busy")


def test_unsupported_endpoint_is_said_as_such():
    chat = provider("a", "m", endpoints=frozenset({Endpoint.CHAT}))
    made = table(chat, B, pool("canon", "a/m"), pool("both", "a/m", "b/m"))
    assert refused(route(made, endpoint=Endpoint.EMBEDDINGS)) == (400, "unsupported_endpoint")
    assert selectors(route(made, "both", endpoint=Endpoint.EMBEDDINGS)) == ["b/m"]


@pytest.mark.parametrize(
    ("models", "name", "expected"),
    [
        ((), "canon", ["a/m", "b/m"]),
        (("canon",), "canon", ["a/m", "b/m"]),
        (("can*",), "canon", ["a/m", "b/m"]),
        (("b/*",), "canon", ["b/m"]),
        (("nick",), "nick", ["a/m", "b/m"]),
        (("b/m",), "nick", ["b/m"]),
        (("b/m",), "b/m", ["b/m"]),
        (("m",), "m", ["a/m"]),
    ],
)
def test_caller_restrictions_filter_candidates_before_selection(models, name, expected):
    """T15: the pool is not refused because of one candidate."""
    assert selectors(route(TABLE, name, caller=Caller("1", "k", models=models))) == expected


@pytest.mark.parametrize(
    ("models", "name", "fields"),
    [
        (("other",), "canon", {}),
        (("nick",), "canon", {}),
        (("b/*",), "a/m", {}),
        (("m",), "m", {"provider": "b"}),
    ],
)
def test_caller_without_any_allowed_candidate_is_refused(models, name, fields):
    """T15: 403 only when nothing of the pool is the caller's."""
    decision = route(TABLE, name, caller=Caller("1", "k", models=models), **fields)
    assert refused(decision) == (403, "model_not_allowed")


def test_failover_order_is_the_strategys_also_under_a_pin():
    """T6, T7: the pin goes first, the rest keep the strategy's order, and nobody stands there twice."""
    priority = table(*(provider(n, "m") for n in "abcd"), pool("canon", "a/m", "b/m", "c/m", "d/m"))
    assert selectors(route(priority, session_key="s", pin="c/m")) == ["c/m", "a/m", "b/m", "d/m"]
    heavy = pool("canon", ("a/m", 1, 1), ("b/m", 2, 9), ("c/m", 1, 4), ("d/m", 2, 4), policy=WEIGHTED)
    weighted = table(*(provider(n, "m") for n in "abcd"), heavy)
    decision = route(weighted, session_key="s", pin="d/m", ticket=11)
    assert (selectors(decision), decision.slot) == (["d/m", "b/m", "c/m", "a/m"], None)


@pytest.mark.parametrize(
    ("session", "pin", "affinity", "order"),
    [
        (None, None, Affinity.NONE, ["a/m", "b/m"]),
        ("", None, Affinity.NONE, ["a/m", "b/m"]),
        (None, "b/m", Affinity.NONE, ["a/m", "b/m"]),
        ("s", None, Affinity.MISS, ["a/m", "b/m"]),
        ("s", "b/m", Affinity.HIT, ["b/m", "a/m"]),
        ("s", "c/m", Affinity.REPIN, ["a/m", "b/m"]),
    ],
)
def test_affinity_words_and_orders(session, pin, affinity, order):
    """T43: no key, no pin."""
    decision = route(TABLE, session_key=session, pin=pin)
    assert (decision.affinity, selectors(decision), decision.pin_key is None) == (
        affinity,
        order,
        not session,
    )


def test_pin_on_a_blocked_candidate_is_no_pin():
    decision = route(TABLE, session_key="s", pin="a/m", health=HealthView(circuits={("a", "m"): OPEN}))
    assert (decision.affinity, selectors(decision)) == (Affinity.REPIN, ["b/m"])


def test_pins_are_separate_per_caller_pool_and_session():
    """T45: the same session key of two callers is two sessions."""
    made = table(A, CANON, pool("other", "a/m"))
    one, two = Caller("1", "k"), Caller("11", "k")
    keys = [
        plan(made, NO_HEALTH, RouteRequest(name, caller=caller, session_key=session), now=NOW).pin_key
        for name in ("canon", "other")
        for caller in (None, one, two)
        for session in ("s", "1s", "s" * 5000, "\ud800")
    ]
    assert len(set(keys)) == 24
    assert {len(key) for key in keys} == {32}


def test_pool_without_affinity_has_no_pin_key():
    made = table(A, pool("canon", "a/m", policy=PoolPolicy(session_affinity=False)))
    assert route(made, session_key="s").affinity is Affinity.NONE


def test_bind_changes_the_session_only():
    request = RouteRequest("canon")
    planned = plan(TABLE, NO_HEALTH, request, now=NOW)
    with_session = RouteRequest("canon", session_key="s")
    bound = bind(planned, with_session)
    assert bound == plan(TABLE, NO_HEALTH, with_session, now=NOW)
    assert bind(bound, request) == planned


def test_counter_key_belongs_to_pool_and_selectable_candidates_with_weights():
    """T5: callers with different candidates do not skew each other."""

    def key(health=NO_HEALTH, caller=None, name="canon", weight=2):
        pools = [
            pool(n, ("a/m", 1, weight), ("b/m", 1, 1), ("c/m", 1, 1), policy=WEIGHTED) for n in ("canon", "z")
        ]
        made = table(A, B, provider("c", "m"), *pools)
        return plan(made, health, RouteRequest(name, caller=caller), now=NOW).counter_key

    limited = Caller("1", "k", models=("a/*", "b/*"))
    keys = [key(), key(caller=limited), key(name="z"), key(weight=3)]
    assert len(set(keys)) == 4
    assert key() == keys[0]
    assert key(health=HealthView(circuits={("c", "m"): OPEN})) == keys[1]
    assert key(caller=Caller("1", "k", models=("a/m",))) is None


def test_priority_pools_take_no_ticket():
    assert plan(TABLE, NO_HEALTH, RouteRequest("canon"), now=NOW).counter_key is None


def test_weighted_pool_serves_its_exact_shares():
    """T4: 10:6 is 10:6 over every full cycle."""
    made = table(A, B, pool("canon", ("a/m", 1, 10), ("b/m", 2, 6), policy=WEIGHTED))
    for start in (0, 5, 803):
        picks = Counter(selectors(route(made, ticket=start + i))[0] for i in range(16))
        assert picks == {"a/m": 10, "b/m": 6}


def test_peek_is_what_the_next_decision_gets():
    """T3: the effective candidate is the live resolver's, from the same ticket and health."""
    made = table(A, B, pool("canon", ("a/m", 1, 3), ("b/m", 2, 2), policy=WEIGHTED))
    planned = plan(made, NO_HEALTH, RouteRequest("canon"), now=NOW)
    for ticket in range(10):
        peeked = decide(planned, decision_id="peek", ticket=ticket)
        assert peeked.effective_candidate == route(made, ticket=ticket).effective_candidate
        assert peeked.slot == ticket % 5


def test_config_primary_is_the_first_choice_of_a_healthy_pool():
    """T8: the same comparator and tie-breaks as selection."""
    for policy in (PoolPolicy(), WEIGHTED):
        made = table(A, B, pool("canon", ("b/m", 1, 4), ("a/m", 1, 4), policy=policy))
        decision = route(made, ticket=0)
        assert decision.evaluation.config_primary == decision.effective_candidate


def test_decision_keeps_to_its_snapshot():
    """T9: what was planned on one table does not change when another comes."""
    planned = plan(TABLE, NO_HEALTH, RouteRequest("canon"), now=NOW)
    newer = replace(TABLE, revision=8, pools=MappingProxyType({"canon": pool("canon", switch=OFF)}))
    assert plan(newer, NO_HEALTH, RouteRequest("canon"), now=NOW).refusal is not None
    decision = decide(planned, decision_id="d")
    assert (decision.revision, selectors(decision)) == (7, ["a/m", "b/m"])


def test_policy_comes_with_every_decision():
    """T39: a refusal and an unknown name carry a whole policy too."""
    assert route(TABLE, "nope").policy == PoolPolicy()
    assert route(TABLE).policy == PoolPolicy()


def test_listed_names_in_order_with_metadata():
    """T14, T23: sorted by id; pools, aliases that resolve and exact names of enabled providers."""
    info = MappingProxyType({"m": ModelInfo(created=5, owned_by="vendor")})
    made = replace(
        TABLE,
        providers=MappingProxyType({**TABLE.providers, "a": replace(A, model_info=info, created_at=3.5)}),
    )
    lines = [
        (x.id, x.owned_by, x.created, x.kind, x.provider, x.upstream_model)
        for x in listed(made, NO_HEALTH, now=NOW)
    ]
    assert lines == [
        ("a/m", "vendor", 5, "exact", "a", "m"),
        ("a/x/y", "b", 0, "pool", "b", "m"),
        ("b/m", "b", 0, "exact", "b", "m"),
        ("b/only-b", "b", 0, "exact", "b", "only-b"),
        ("canon", "vendor", 5, "pool", "a", "m"),
        ("direct", "b", 0, "alias", "b", "only-b"),
        ("nick", "vendor", 5, "alias", "a", "m"),
    ]


def test_listed_is_filtered_for_the_caller():
    """T15: the models list is filtered alike."""
    caller = Caller("1", "k", models=("b/*", "nick"))
    assert [x.id for x in listed(TABLE, NO_HEALTH, now=NOW, caller=caller)] == [
        "a/x/y",
        "b/m",
        "b/only-b",
        "canon",
        "direct",
        "nick",
    ]


def test_listed_leaves_exact_names_out_on_request():
    ids = [x.id for x in listed(TABLE, NO_HEALTH, now=NOW, expose_exact=False)]
    assert ids == ["a/x/y", "canon", "direct", "nick"]


def test_hidden_exact_name_is_not_listed_when_its_pool_is_down():
    made = table(A, B, pool("a/m", ("b/m", 1, 1, OFF)))
    assert [x.id for x in listed(made, NO_HEALTH, now=NOW)] == ["a/x/y", "b/m", "b/only-b"]
