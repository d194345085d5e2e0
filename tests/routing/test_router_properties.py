"""What holds for every table, health view and request, not only for the ones we thought of."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.eligibility import _inspect, _plain_state, _Scene, evaluate
from routing.provider_class import Moment
from routing.router import decide, listed, plan
from routing.strategies import slot_counts
from routing.types import (
    NO_HEALTH,
    SWITCHED_ON,
    Caller,
    Circuit,
    DiscoveryState,
    Endpoint,
    HealthView,
    InventoryMode,
    PoolPolicy,
    Refusal,
    RouteRequest,
    Strategy,
    Switch,
    WhenAllBlocked,
)
from tests.routing.tables import pool, provider, table

PROVIDERS = ("a", "b", "c", "d")
MODELS = ("m", "n", "x/y")
POOLS = ("canon", "second", "a/m", "m")
ALIASES = ("nick", "b/n", "loop")
UNIVERSE = sorted(
    {*POOLS, *ALIASES, *MODELS, "unknown", "ghost/m", "a/unknown"}
    | {f"{p}/{m}" for p in PROVIDERS for m in MODELS}
)

instants = st.sampled_from([0.0, 50.0, 100.0, 110.0, 120.0, 150.0])
switches = st.builds(
    Switch,
    enabled=st.sampled_from([True, True, True, False]),
    base=st.booleans(),
    expires_at=st.none() | instants,
)
circuits = st.builds(
    Circuit,
    failures=st.integers(0, 6),
    openings=st.integers(0, 2),
    open_until=instants,
    trial_until=instants,
    cooldown_until=instants,
    stated_until=instants,
    closed_at=instants,
)
policies = st.builds(
    PoolPolicy,
    strategy=st.sampled_from(list(Strategy)),
    session_affinity=st.booleans(),
    when_all_blocked=st.sampled_from(list(WhenAllBlocked)),
)
views = st.builds(
    HealthView,
    circuits=st.dictionaries(
        st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(MODELS)), circuits, max_size=5
    ),
    credentials=st.dictionaries(st.sampled_from(PROVIDERS), circuits, max_size=1),
    busy=st.frozensets(st.sampled_from(PROVIDERS), max_size=2),
    last_success_at=st.dictionaries(st.sampled_from(PROVIDERS), instants, max_size=2),
)
mostly_on = st.sampled_from([SWITCHED_ON] * 9 + [None]).flatmap(
    lambda on: switches if on is None else st.just(on)
)
mostly_well = st.just(NO_HEALTH) | views
callers = st.none() | st.builds(
    Caller,
    id=st.sampled_from(["1", "2"]),
    name=st.just("k"),
    models=st.lists(st.sampled_from(["canon", "nick", "a/*", "b/n", "*", "m"]), max_size=2).map(tuple),
)
ENDPOINT = st.sampled_from([Endpoint.CHAT, Endpoint.EMBEDDINGS])
ENDPOINTS = st.sampled_from([frozenset(Endpoint), frozenset({Endpoint.CHAT}), frozenset()])


@st.composite
def tables(draw, switches=switches):
    objects = [
        provider(
            name,
            *draw(st.lists(st.sampled_from(MODELS), max_size=3)),
            configured=draw(st.lists(st.sampled_from(MODELS), max_size=2)),
            state=draw(st.sampled_from(list(DiscoveryState))),
            failures=draw(st.integers(0, 4)),
            switch=draw(switches),
            endpoints=draw(ENDPOINTS),
        )
        for name in PROVIDERS
        if draw(st.sampled_from([True, True, False]))
    ]
    for name in draw(st.lists(st.sampled_from(POOLS), unique=True)):
        pairs = draw(
            st.lists(st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(MODELS)), unique=True, max_size=5)
        )
        rows = [
            (f"{p}/{m}", draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(switches)) for p, m in pairs
        ]
        objects.append(pool(name, *rows, policy=draw(policies), switch=draw(switches)))
    targets = st.sampled_from([*POOLS, "a/m", "b/n", "nick", "unknown"])
    return table(
        *objects,
        aliases=draw(st.dictionaries(st.sampled_from(ALIASES), targets)),
        mode=draw(st.sampled_from(list(InventoryMode))),
        defaults=draw(policies),
    )


requests = st.builds(
    RouteRequest,
    model=st.sampled_from(UNIVERSE),
    endpoint=ENDPOINT,
    caller=callers,
    provider=st.none() | st.sampled_from([*PROVIDERS, "ghost"]),
    session_key=st.none() | st.just("s"),
)
NAMES = [f"{p}/{m}" for p in PROVIDERS for m in MODELS]


@given(tables(), views, requests, st.none() | st.sampled_from(NAMES), st.none() | st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_order_holds_every_selectable_candidate_once_and_nobody_else(made, health, request, pin, ticket):
    """T6, T7, T11: whatever the state, pins and tickets, and never an error."""
    planned = plan(made, health, request, now=100.0)
    decision = decide(planned, decision_id="d", pin=pin, ticket=ticket)
    if planned.evaluation is None:
        assert isinstance(decision.refusal, Refusal)
        return
    ids = [candidate.selector for candidate in decision.order]
    assert sorted(ids) == sorted(
        state.candidate.selector for state in planned.evaluation.states if state.selectable
    )
    assert len(set(ids)) == len(ids)
    assert (decision.refusal is None) == bool(ids)


@given(tables(), views, requests)
@settings(max_examples=100, deadline=None)
def test_nobody_is_chosen_whom_an_operator_switched_off(made, health, request):
    """T23: a disabled provider, candidate or canonical model is called by no path and under no rule."""
    planned = plan(made, health, request, now=100.0)
    for candidate in decide(planned, decision_id="d").order:
        assert made.providers[candidate.provider].switch.value_at(100.0)
        assert candidate.switch.value_at(100.0)
        assert request.endpoint in made.providers[candidate.provider].endpoints
        assert planned.match is not None
        assert planned.match.pool.switch.value_at(100.0)


@given(tables(), views, requests, st.integers(0, 10**9))
@settings(max_examples=100, deadline=None)
def test_peek_predicts_the_next_decision(made, health, request, ticket):
    """T1, T3: the same plan and the same ticket give the same order."""
    first = decide(plan(made, health, request, now=100.0), decision_id="d", ticket=ticket)
    again = decide(plan(made, health, request, now=100.0), decision_id="d", ticket=ticket)
    assert first == again


@given(tables(), views, st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_shares_are_exact_over_a_cycle_of_any_eligible_subset(made, health, start):
    """T4, T5: whoever is eligible, one full cycle gives each exactly his share."""
    for name, of in made.pools.items():
        if of.policy.strategy is not Strategy.WEIGHTED_ROUND_ROBIN:
            continue
        planned = plan(made, health, RouteRequest(name), now=100.0)
        if (
            planned.evaluation is None
            or planned.match is None
            or planned.match.pool is not of
            or planned.refusal
        ):
            continue
        chosen = planned.evaluation.selectable
        counts = slot_counts(tuple(candidate.weight for candidate in chosen))
        picks = Counter(
            decide(planned, decision_id="d", ticket=start + i).order[0].selector for i in range(sum(counts))
        )
        assert picks == {c.selector: count for c, count in zip(chosen, counts, strict=True)}


@given(tables(), views, callers, st.booleans())
@settings(max_examples=100, deadline=None)
def test_listed_is_routable_and_routable_is_listed(made, health, caller, expose_exact):
    """T2, T14: for every name that is no bare id; sorted; and listing changes nothing."""
    ids = [line.id for line in listed(made, health, now=100.0, caller=caller, expose_exact=expose_exact)]
    routable = []
    for name in UNIVERSE:
        planned = plan(
            made,
            health,
            RouteRequest(name, caller=caller),
            now=100.0,
            expose_exact=expose_exact,
            any_endpoint=True,
        )
        order = decide(planned, decision_id="d").order
        if order and planned.match is not None and planned.match.matched_by != "bare":
            routable.append(name)
    assert ids == sorted(routable)


@given(tables(), views, callers, st.sampled_from(UNIVERSE))
@settings(max_examples=100, deadline=None)
def test_routable_for_some_endpoint_is_routable_for_any(made, health, caller, name):
    request = RouteRequest(name, caller=caller)
    anywhere = plan(made, health, request, now=100.0, any_endpoint=True).refusal is None
    somewhere = any(
        plan(made, health, replace(request, endpoint=endpoint), now=100.0).refusal is None
        for endpoint in Endpoint
    )
    assert anywhere == somewhere


@given(tables(), views, callers, st.floats(90, 160), st.floats(0, 1, exclude_max=True))
@settings(max_examples=100, deadline=None)
def test_evaluation_holds_until_its_valid_until(made, health, caller, t1, part):
    """An evaluation may be kept: nothing changes before ``valid_until``."""
    for of in made.pools.values():
        one = evaluate(of, made, health, now=t1, caller=caller)
        assert one.valid_until > t1
        t2 = min(t1 + part * (min(one.valid_until, 1000.0) - t1), one.valid_until)
        if t2 < one.valid_until:
            assert evaluate(of, made, health, now=t2, caller=caller) == one


@given(tables(mostly_on), mostly_well, st.none() | ENDPOINT, instants)
@settings(max_examples=200, deadline=None)
def test_the_short_way_finds_what_the_long_one_finds(made, health, endpoint, now):
    """A candidate of which nothing is to be said is not inspected; inspecting it would find the same."""
    moment = Moment(made, health, now, endpoint)
    for of in made.pools.values():
        for candidate in of.candidates:
            short = _plain_state(candidate, moment)
            if short is not None:
                assert (short, True) == _inspect(candidate, _Scene(moment, of, True, None, True))


@given(tables(), views, requests, st.floats(90, 160), st.floats(0, 1, exclude_max=True))
@settings(max_examples=100, deadline=None)
def test_plan_holds_until_its_valid_until(made, health, request, t1, part):
    """A plan may be kept as well; only the wait of a refusal is counted anew."""
    one = plan(made, health, request, now=t1)
    t2 = t1 + part * (min(one.valid_until, 1000.0) - t1)
    if t2 < one.valid_until:
        two = plan(made, health, request, now=t2)
        assert decide(one, decision_id="d", now=t2) == decide(two, decision_id="d", now=t2)
