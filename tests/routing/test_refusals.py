"""One value, one sentence: the file, the API, the services and the admin's forms refuse it alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import reverse

from routing import models, queries, refusals, services
from routing.config_context import Surroundings
from routing.config_file import parse
from tests import factories

ADA: Any = {"actor": services.Actor("ada"), "source": "admin"}
RANK = "candidates.0."
POOL = "routing:\n  model_pools:\n    new:\n"
LOOP = "leads back to this alias"
CHAIN = "is an alias itself; an alias must lead to a canonical model or provider/model"


@dataclass(frozen=True)
class Case:
    """A bad value in every dress, and what is said of it; an empty ``form`` cannot hold it at all.

    ``file`` is what stands in the file under the object, ``body`` what the API and the service are told, and
    ``form`` what is typed. ``param`` is where the API finds the fault, ``field`` where the form shows it.
    """

    says: str
    file: str
    body: dict[str, Any]
    form: dict[str, str]
    param: str
    field: str = ""


def failover(name: str, column: str, value: Any, says: str, typed: str | None = None, at: str = "") -> Case:
    shown = typed if typed is not None else str(value)
    form = {column: shown} if typed != "" else {}
    return Case(
        says,
        f"failover: {{{name}: {json.dumps(value)}}}".replace('"', ""),
        {column: value},
        form,
        f"failover.{name}{at}",
        column,
    )


def policy(name: str, written: str, column: str, value: Any, says: str, *, is_typed: bool = True) -> Case:
    form = {column: str(value)} if is_typed else {}
    return Case(says, f"{name}: {written}", {column: value}, form, column, column)


def timeout(value: Any, says: str) -> Case:
    column = "connect_timeout_s"
    return Case(
        says, f"timeouts: {{connect: {value}}}", {column: value}, {column: str(value)}, column, column
    )


def rank(name: str, value: Any, says: str) -> Case:
    return Case(says, f"{name}: {value}", {name: value}, {name: str(value)}, f"{RANK}{name}", name)


POLICIES = [
    failover("retry_on_statuses", "failover_on_statuses", [99], f"{refusals.NOT_STATUS}", "99", ".0"),
    failover("retry_on_statuses", "failover_on_statuses", [429, 600], refusals.NOT_STATUS, "429, 600", ".1"),
    failover("retry_on_statuses", "failover_on_statuses", ["5xx"], refusals.NOT_STATUS, "5xx", ".0"),
    failover("retry_on_statuses", "failover_on_statuses", [-1], refusals.NOT_STATUS, "-1", ".0"),
    failover("retry_on_statuses", "failover_on_statuses", 503, "must be a list", ""),
    failover("max_attempts", "failover_max_attempts", 0, "must be at least 1, not 0"),
    failover("max_attempts", "failover_max_attempts", -3, "must be at least 1, not -3"),
    failover("max_attempts", "failover_max_attempts", 2**31, "must be at most 2147483647, not 2147483648"),
    failover("max_attempts", "failover_max_attempts", "many", refusals.NOT_WHOLE),
    failover("max_attempts", "failover_max_attempts", 1.5, refusals.NOT_WHOLE),
    failover("max_attempts", "failover_max_attempts", "1_0", refusals.NOT_WHOLE),
    failover("retry_on_statuses", "failover_on_statuses", ["4_29"], refusals.NOT_STATUS, "4_29", ".0"),
    failover("enabled", "failover_enabled", "maybe", "must be true or false", ""),
    policy("session_affinity_ttl", "0", "session_affinity_ttl_s", 0, "must be above 0"),
    policy("session_affinity_ttl", "-30m", "session_affinity_ttl_s", -1800, "must be above 0"),
    policy("session_affinity_ttl", "1500ms", "session_affinity_ttl_s", 1.5, refusals.NOT_WHOLE_SECONDS),
    policy(
        "session_affinity_ttl",
        "30000d",
        "session_affinity_ttl_s",
        30_000 * 86_400,
        "must be at most 2147483647 seconds",
    ),
    policy("session_affinity", "perhaps", "session_affinity", "perhaps", refusals.NOT_FLAG, is_typed=False),
    policy(
        "strategy",
        "random",
        "strategy",
        "random",
        'unknown strategy "random"; it is one of priority_failover, weighted_round_robin',
        is_typed=False,
    ),
    policy(
        "when_all_blocked",
        "pray",
        "when_all_blocked",
        "pray",
        'unknown word "pray"; it is one of keep_last, fail, last_resort',
        is_typed=False,
    ),
]
PROVIDERS = [
    timeout(0, "must be above 0"),
    timeout(-2, "must be above 0"),
    timeout(0.0001, "must be at least a millisecond"),
    timeout(2_147_483_648, "must be at most 2147483647 seconds"),
    Case(
        "must be at least 1, not 0",
        "max_in_flight: 0",
        {"max_in_flight": 0},
        {"max_in_flight": "0"},
        "max_in_flight",
        "max_in_flight",
    ),
    Case(
        "must be a mapping of keys and values",
        "options: [x]",
        {"options": ["x"]},
        {"options": '["x"]'},
        "options",
        "options",
    ),
    Case(
        'the option "responses" must be native or translated',
        "options: {responses: yes please}",
        {"options": {"responses": "yes please"}},
        {"options": '{"responses": "yes please"}'},
        "options",
        "options",
    ),
    *[
        Case(
            says,
            f"base_url: '{base_url}'",
            {"base_url": base_url},
            {"base_url": base_url},
            "base_url",
            "base_url",
        )
        for base_url, says in (
            ("ftp://x", "must be a URL such as https://api.example.com/v1"),
            ("http://a b/v1", "must not have white space"),
            ("http://u:p@x/v1", "must not hold a user name or password; the key has a field of its own"),
            ("http://x/v1?a=b", "must not have a query or a fragment"),
            ("http://169.254.169.254/v1", "is a link-local address, which is never called"),
            ("http://[::1/v1", "is not a URL"),
            ("", "is required for the type openai_compatible"),
        )
    ],
]
CANDIDATES = [
    rank("priority", 0, "must be at least 1, not 0"),
    rank("priority", -1, "must be at least 1, not -1"),
    rank("priority", 1_000_001, "must be at most 1000000, not 1000001"),
    rank("priority", "first", refusals.NOT_WHOLE),
    rank("weight", -1, "must be at least 1, not -1"),
    rank("weight", 1.5, refusals.NOT_WHOLE),
    rank("weight", "1_0", refusals.NOT_WHOLE),
]
ALIASES = [
    ("chat", "a/x", "a pool has this name; an alias and a pool cannot share one", "name"),
    ("new", "cha", 'unknown target "cha": neither a pool nor provider/model of a known provider; '
     "did you mean chat?", "target"),
    ("new", "zz/x", 'unknown target "zz/x": neither a pool nor provider/model of a known provider', "target"),
    ("new", "short", f'"short" {CHAIN}', "target"),
    ("new", "new", f'"new" {LOOP}', "target"),
]  # fmt: skip


@pytest.fixture
def stored(db):
    """Provider a, pool chat with a/x, alias short."""
    provider = factories.ProviderFactory(name="a", kind="openai_compatible", base_url="http://127.0.0.1:9/v1")
    pool = factories.ModelPoolFactory(canonical_model="chat")
    factories.PoolCandidateFactory(pool=pool, provider=provider, model="x")
    factories.AliasFactory(name="short", target="chat")
    return provider


def imported(text):
    """What the import says, each a sentence; its paths and lines are the file's own."""
    found = parse(text, Surroundings(variable={}.get, current=queries.read_document()))
    return [refusals.sentence(problem.message) for problem in found.problems]


def refused(write):
    with pytest.raises(services.Invalid) as caught:
        write()
    return caught.value.message


def answered(ada, method, path, body):
    response = ada.generic(
        method,
        path,
        json.dumps(body),
        content_type="application/json",
        headers={"Accept": "application/json"},
    )
    error = response.json()["error"]
    return response.status_code, error["message"], error["param"]


def typed(ada, page, data):
    """The messages of a form that was not saved, by field; those of inlines too."""
    data = {"expected_revision": queries.head_revision(), **data}
    response = ada.post(reverse(f"admin:routing_{page}_add"), data)
    found = {name: list(texts) for name, texts in response.context["adminform"].form.errors.items()}
    for inline in response.context["inline_admin_formsets"]:
        for errors in inline.formset.errors:
            found.update({name: list(texts) for name, texts in errors.items()})
    return found


def pool_form(*candidates, **values):
    data = {
        "canonical_model": "new",
        "description": "",
        "session_affinity": "unknown",
        "failover_enabled": "unknown",
        "failover_on_model_errors": "unknown",
        "candidates-INITIAL_FORMS": 0,
        "candidates-TOTAL_FORMS": len(candidates),
        **values,
    }
    for index, candidate in enumerate(candidates):
        data |= {f"candidates-{index}-{name}": value for name, value in candidate.items()}
    return data


def pool_body(columns):
    """The columns of a policy as the API calls them."""
    names = {
        "failover_on_statuses": "retry_on_statuses",
        "failover_max_attempts": "max_attempts",
        "failover_enabled": "enabled",
    }
    body = {"failover": {names[column]: columns[column] for column in columns if column in names}}
    return body | {column: value for column, value in columns.items() if column not in names}


@pytest.mark.parametrize("case", POLICIES, ids=lambda case: case.file)
def test_policies_are_refused_alike(ada, stored, case):
    """T41: statuses, attempts, times, words."""
    says = refusals.sentence(case.says)
    candidate = {"provider_name": "a", "model": "x"}
    file = f"{POOL}      {case.file}\n      candidates: [{{provider: a, model: x}}]"

    def save():
        services.save_pool(canonical_model="new", values=case.body, candidates=[candidate], **ADA)

    assert imported(file) == [says]
    assert refused(save) == says
    body = {**pool_body(case.body), "candidates": [candidate]}
    assert answered(ada, "PUT", "/admin/api/pools/new", body) == (400, says, case.param)
    if case.form:
        row = {"provider": stored.pk, "model": "x", "priority": 1, "weight": 1}
        assert typed(ada, "modelpool", pool_form(row, **case.form)) == {case.field: [says]}
    assert models.ModelPool.objects.count() == 1


@pytest.mark.parametrize("case", PROVIDERS, ids=lambda case: case.file)
def test_providers_are_refused_alike(ada, stored, case):
    says = refusals.sentence(case.says)
    good = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}
    address = "" if "base_url" in case.body else f"    base_url: {good['base_url']}\n"

    assert imported(f"providers:\n  new:\n    type: openai_compatible\n{address}    {case.file}") == [says]
    assert refused(lambda: services.save_provider(name="new", values=good | case.body, **ADA)) == says
    told = answered(ada, "PUT", "/admin/api/providers/new", good | case.body)
    assert told == (400, says, case.param)
    form = {"name": "new", **good, "configured_models": "", "options": "{}", **case.form}
    assert typed(ada, "provider", form) == {case.field: [says]}
    assert models.Provider.objects.count() == 1


def test_an_option_is_refused_alike_by_its_name(ada, stored):
    good = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}
    file = f"providers:\n  new:\n    type: openai_compatible\n    base_url: {good['base_url']}\n"
    bad = good | {"options": {"project": [1]}}

    assert imported(file + "    options: {project: [1]}") == ["Must be a text."]
    assert answered(ada, "PUT", "/admin/api/providers/new", bad) == (
        400,
        "Must be a text.",
        "options.project",
    )
    form = {"name": "new", **good, "configured_models": "", "options": '{"project": [1]}'}
    # These two name the mapping only, so that the sentence names the option.
    assert refused(lambda: services.save_provider(name="new", values=bad, **ADA)) == (
        'The option "project" must be a text.'
    )
    assert typed(ada, "provider", form) == {"options": ['The option "project" must be a text.']}


@pytest.mark.parametrize("case", CANDIDATES, ids=lambda case: case.file)
def test_ranks_are_refused_alike(ada, stored, case):
    """T41: priority and weight, where the strategy needs them."""
    says = refusals.sentence(case.says)
    strategy = "weighted_round_robin" if case.field == "weight" else "priority_failover"
    candidate = {"provider_name": "a", "model": "x", **case.body}
    file = f"{POOL}      strategy: {strategy}\n      candidates: [{{provider: a, model: x, {case.file}}}]"

    def save():
        services.save_pool(canonical_model="new", values={}, candidates=[candidate], **ADA)

    assert imported(file) == [says]
    assert refused(save) == says
    told = answered(ada, "PUT", "/admin/api/pools/new", {"strategy": strategy, "candidates": [candidate]})
    assert told == (400, says, case.param)
    row = {"provider": stored.pk, "model": "x", "priority": 1, "weight": 1, **case.form}
    assert typed(ada, "modelpool", pool_form(row)) == {case.field: [says]}


def test_a_candidate_that_stands_twice_is_refused_alike(ada, stored):
    says = 'The candidate "a/x" stands twice in this pool.'
    twice = [{"provider_name": "a", "model": "x"}] * 2
    file = f"{POOL}      candidates: [&one {{provider: a, model: x}}, *one]"

    def save():
        services.save_pool(canonical_model="new", values={}, candidates=twice, **ADA)

    assert imported(file) == [says]
    assert refused(save) == says
    told = answered(ada, "PUT", "/admin/api/pools/new", {"candidates": twice})
    assert told == (400, says, "candidates.1")
    row = {"provider": stored.pk, "model": "x", "priority": 1, "weight": 1}
    assert typed(ada, "modelpool", pool_form(row, row)) == {"__all__": [says]}


def test_a_candidate_of_no_provider_is_refused_alike(ada, stored):
    says = 'Unknown provider "zz"; add it first.'
    candidates = [{"provider_name": "zz", "model": "x"}]
    file = f"{POOL}      candidates: [{{provider: zz, model: x}}]"

    def save():
        services.save_pool(canonical_model="new", values={}, candidates=candidates, **ADA)

    assert imported(file) == [says]
    assert refused(save) == says
    told = answered(ada, "PUT", "/admin/api/pools/new", {"candidates": candidates})
    assert told == (400, says, "candidates.0.provider_name")


def test_a_pool_without_candidates_is_refused_alike(ada, stored):
    says = "A pool needs at least one candidate."

    def save():
        services.save_pool(canonical_model="new", values={}, candidates=[], **ADA)

    assert imported(f"{POOL}      candidates: []") == [says]
    assert refused(save) == says
    assert answered(ada, "PUT", "/admin/api/pools/new", {"candidates": []}) == (400, says, "candidates")
    assert typed(ada, "modelpool", pool_form()) == {"__all__": [says]}


def test_a_pool_with_the_name_of_an_alias_is_refused_alike(ada, stored):
    says = "An alias has this name; an alias and a pool cannot share one."
    candidates = [{"provider_name": "a", "model": "x"}]
    file = "routing:\n  model_pools:\n    short:\n      candidates: [{provider: a, model: x}]"

    def save():
        services.save_pool(canonical_model="short", values={}, candidates=candidates, **ADA)

    assert imported(file) == [says]
    assert refused(save) == says
    told = answered(ada, "PUT", "/admin/api/pools/short", {"candidates": candidates})
    assert told == (400, says, "canonical_model")
    row = {"provider": stored.pk, "model": "x", "priority": 1, "weight": 1}
    assert typed(ada, "modelpool", pool_form(row, canonical_model="short")) == {"canonical_model": [says]}


@pytest.mark.parametrize(("name", "target", "problem", "param"), ALIASES)
def test_aliases_are_refused_alike(ada, stored, name, target, problem, param):
    """T12: one step, to something that is there, under a name of its own."""
    says = refusals.sentence(problem)

    assert imported(f"aliases: {{{name}: {target}}}") == [says]
    assert refused(lambda: services.save_alias(name=name, target=target, **ADA)) == says
    assert answered(ada, "PUT", f"/admin/api/aliases/{name}", {"target": target}) == (400, says, param)
    assert typed(ada, "alias", {"name": name, "target": target}) == {param: [says]}
    assert models.Alias.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a b", "A provider name has letters, digits, dot, underscore and hyphen only."),
        ("x/y", "A provider name has letters, digits, dot, underscore and hyphen only."),
    ],
)
def test_names_of_providers_are_refused_alike(ada, stored, name, says):
    good = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}
    file = f"providers:\n  {name}: {{type: openai_compatible, base_url: 'http://127.0.0.1:9/v1'}}"

    assert imported(file) == [says]
    assert refused(lambda: services.save_provider(name=name, values=good, **ADA)) == says
    assert answered(ada, "POST", "/admin/api/providers", {"name": name, **good}) == (400, says, "name")
    form = {"name": name, **good, "configured_models": "", "options": "{}"}
    assert typed(ada, "provider", form) == {"name": [says]}


@pytest.mark.parametrize("value", [float("nan"), True, "5", None])
def test_what_is_no_number_is_no_time(value):
    assert refusals.seconds(value) == "must be a number of seconds"


@pytest.mark.parametrize("value", [0.001, 1, 2_147_483_647])
def test_times_within_the_bounds_are_taken(value):
    assert refusals.seconds(value) == ""
