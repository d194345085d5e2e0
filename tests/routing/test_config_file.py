# ruff: noqa: E501 - messages are quoted whole
import re
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.config_context import Surroundings
from routing.config_export import render
from routing.config_file import parse
from routing.config_plan import NEW_SWITCH, UNSET_DEFAULTS, lines, plan
from routing.config_schema import (
    CandidateSection,
    FailoverSection,
    ModelsSection,
    PolicySection,
    PoolSection,
    ProviderSection,
    TimeoutsSection,
)
from routing.document import object_key
from routing.kinds import KINDS

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "gateway.yaml"
GOOD = """\
providers:
  one:
    type: openai
    api_key: "${ONE_KEY}"
  two:
    type: openai_compatible
    base_url: http://127.0.0.1:9000/v1/
routing:
  model_pools:
    pool:
      candidates:
        - {provider: one, model: m}
"""
UNSET_POOL = {
    "description": "",
    **{name: value for name, value in UNSET_DEFAULTS.items() if name != "configured_provider_models_mode"},
}


def around(environment=None, **values):
    return Surroundings(variable=(environment or {}).get, **values)


def faults(text, surroundings=None):
    return [str(problem) for problem in parse(text, surroundings or around()).problems]


def notes(text, surroundings=None):
    return [str(warning) for warning in parse(text, surroundings or around()).warnings]


def with_candidate(candidate, pool=""):
    """A file with one pool whose one candidate stands on the last line."""
    return dedent(f"""\
        providers:
          one: {{type: vllm}}
        routing:
          model_pools:
            p:
              {pool or "description: d"}
              candidates:
                - {candidate}
        """)


def with_defaults(block):
    return "routing:\n  defaults:\n" + "".join(f"    {line}\n" for line in dedent(block).strip().splitlines())


def test_parse_reads_objects():
    file = parse(GOOD, around())

    assert (file.problems, file.secrets) == ((), {})
    assert file.objects["pool/pool"] == UNSET_POOL
    assert file.objects["candidate/pool/one/m"] == {"priority": 1, "weight": 1}
    assert file.objects["provider/two"] == {
        "kind": "openai_compatible",
        "base_url": "http://127.0.0.1:9000/v1",
        "configured_models": [],
        "options": {},
        "connect_timeout_s": None,
        "first_byte_timeout_s": None,
        "idle_timeout_s": None,
        "total_timeout_s": None,
        "max_in_flight": None,
    }
    assert file.objects["provider/one"]["credential"] == "${ONE_KEY}"


def test_parse_reports_every_problem_at_once_with_path_and_line():
    """T41: all refusals in one go, each where it stands."""
    text = dedent("""\
        providers:
          one: {type: vllm, modells: [a], max_in_flight: 0}
          two: {type: nothing}
        aliases:
          a: b
        routing:
          defaults:
            failover: {max_attempts: 0, retry_on_statuses: [99, 600, 503]}
            session_affinity_ttl: 30:00
            strategy: random
          model_pools:
            p:
              candidates:
                - {provider: nine, model: m, weight: -1}
            q:
              candidates: []
        extra: {}
        """)
    known = ", ".join(sorted(KINDS))

    assert faults(text) == [
        "providers.one.max_in_flight: must be at least 1, not 0 (line 2)",
        "providers.one.modells: unknown key; did you mean models? (line 2)",
        f'providers.two.type: unknown type "nothing"; it is one of {known}. A provider that speaks '
        "OpenAI's format is openai_compatible, with its base_url (line 3)",
        'aliases.a: unknown target "b": neither a pool nor provider/model of a known provider (line 5)',
        "routing.defaults.failover.max_attempts: must be at least 1, not 0 (line 8)",
        "routing.defaults.failover.retry_on_statuses[0]: must be an HTTP status between 100 and 599 (line 8)",
        "routing.defaults.failover.retry_on_statuses[1]: must be an HTTP status between 100 and 599 (line 8)",
        "routing.defaults.session_affinity_ttl: must be a duration such as 30m, 1h30m or 90s, or a number of "
        "seconds (line 9)",
        'routing.defaults.strategy: unknown strategy "random"; it is one of priority_failover, '
        "weighted_round_robin (line 10)",
        'routing.model_pools.p.candidates[0].provider: unknown provider "nine"; add it first (line 14)',
        "routing.model_pools.p.candidates[0].weight: must be at least 1, not -1 (line 14)",
        "routing.model_pools.q.candidates: a pool needs at least one candidate (line 16)",
        "extra: unknown key (line 17)",
    ]


@pytest.mark.parametrize(
    ("candidate", "pool", "problem"),
    [
        ("{provider: one, model: m, priority: 0}", "", ".priority: must be at least 1, not 0"),
        (
            "{provider: one, model: m, weight: 0}",
            "strategy: weighted_round_robin",
            ".weight: must be at least 1, not 0",
        ),
        (
            "{provider: one, model: m, priority: 010}",
            "",
            ".priority: must be a whole number, written in plain digits",
        ),
        (
            "{provider: one, model: m, weight: 30:00}",
            "",
            ".weight: must be a whole number, written in plain digits",
        ),
        (
            '{provider: one, model: m, weight: "3"}',
            "",
            ".weight: must be a whole number, written in plain digits, without quotes",
        ),
        (
            "{provider: one, model: m, weight: 1.5}",
            "",
            ".weight: must be a whole number, written in plain digits",
        ),
        ("{provider: one, model: m, weight: 1000001}", "", ".weight: must be at most 1000000, not 1000001"),
        ("{provider: one}", "", ".model: is required"),
        ("{model: m}", "", ".provider: is required"),
        ('{provider: one, model: " "}', "", ".model: must not be empty"),
        ('{provider: one, model: "a\\nb"}', "", ".model: must be one line without control characters"),
        ("{provider: one, model: [m]}", "", ".model: must be a text"),
        ("{provider: one, model: m, prio: 1}", "", ".prio: unknown key; did you mean priority?"),
        ("one/m", "", ": must be a mapping of keys and values"),
    ],
)
def test_parse_refuses_a_candidate(candidate, pool, problem):
    """T41: values that a candidate cannot have."""
    assert faults(with_candidate(candidate, pool)) == [
        f"routing.model_pools.p.candidates[0]{problem} (line 8)"
    ]


def test_parse_keeps_a_zero_that_the_strategy_does_not_need_as_one():
    file = parse(with_candidate("{provider: one, model: m, weight: 0}"), around())

    assert file.problems == ()
    assert file.objects["candidate/p/one/m"] == {"priority": 1, "weight": 1}
    assert [str(warning) for warning in file.warnings] == [
        "routing.model_pools.p.candidates[0].weight: 0 is kept as 1; priority_failover does not need it (line 8)"
    ]


def test_parse_judges_ranks_by_the_strategy_of_the_defaults():
    weighted = {"defaults": {**UNSET_DEFAULTS, "strategy": "weighted_round_robin"}}
    text = with_candidate("{provider: one, model: m, weight: 0}")
    problem = "routing.model_pools.p.candidates[0].weight: must be at least 1, not 0 (line 8)"

    assert faults(text, around(current=weighted)) == [problem]
    assert faults(text, around(current=weighted, prune=True)) == []


def test_parse_refuses_a_candidate_twice():
    text = with_candidate("{provider: one, model: m}") + "        - {provider: one, model: ' m '}\n"

    assert faults(text) == [
        'routing.model_pools.p.candidates[1]: the candidate "one/m" stands twice in this pool (line 9)'
    ]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("session_affinity: maybe", "session_affinity: must be true or false"),
        ('session_affinity: "on"', "session_affinity: must be true or false, without quotes"),
        ("session_affinity_ttl: 0", "session_affinity_ttl: must be above 0"),
        ("session_affinity_ttl: 1500ms", "session_affinity_ttl: must be a whole number of seconds"),
        ("session_affinity_ttl: 1000000h", "session_affinity_ttl: must be at most 2147483647 seconds"),
        ("failover: true", "failover: must be a mapping of keys and values"),
        ("failover: {retries: 3}", "failover.retries: unknown key"),
        ("failover: {retry_on_statuses: 503}", "failover.retry_on_statuses: must be a list"),
        (
            "failover: {retry_on_statuses: [5xx]}",
            "failover.retry_on_statuses[0]: must be an HTTP status between 100 and 599",
        ),
        ("when_all_blocked: give_up", 'when_all_blocked: unknown word "give_up"; it is one of keep_last, fail, '
         "last_resort"),
        ("candidates: []", "candidates: unknown key"),
    ],
)  # fmt: skip
def test_parse_refuses_a_policy(block, problem):
    """T41: values that a policy cannot have."""
    found = faults(with_defaults(block))

    assert [line.removeprefix("routing.defaults.") for line in found] == [f"{problem} (line 3)"]


@pytest.mark.parametrize(
    ("word", "value"), [("on", True), ("Yes", True), ("off", False), ("no", False), ("false", False)]
)
def test_parse_takes_the_words_of_yaml_for_booleans(word, value):
    file = parse(with_defaults(f"session_affinity: {word}"), around())

    assert file.objects["defaults"]["session_affinity"] is value


def test_parse_takes_names_as_written():
    """A model named 010 or off is that text, not the number 8 or false."""
    text = "providers: {no: {type: vllm, models: [010, off, 1.10, 2024-01-01]}}\naliases: {on: no/off}"
    file = parse(text, around())

    assert file.problems == ()
    assert file.objects["provider/no"]["configured_models"] == ["010", "off", "1.10", "2024-01-01"]
    assert file.objects["alias/on"] == {"target": "no/off"}


def test_parse_leaves_omitted_defaults_unset():
    """T40: a partial block keeps the other defaults, booleans included."""
    file = parse(with_defaults("failover:\n  max_attempts: 2"), around())

    assert file.objects["defaults"] == {
        **{
            name: value for name, value in UNSET_DEFAULTS.items() if name != "configured_provider_models_mode"
        },
        "failover_max_attempts": 2,
    }


def test_parse_reads_every_policy_value_of_a_pool():
    """T42: strategy, affinity and failover can be set per pool."""
    text = with_candidate("{provider: one, model: m}").replace(
        "description: d",
        "strategy: weighted_round_robin\n"
        "      session_affinity: false\n"
        "      session_affinity_ttl: 1h30m\n"
        "      failover: {enabled: false, max_attempts: 1, retry_on_statuses: [], retry_on_model_errors: false}\n"
        "      when_all_blocked: fail",
    )

    assert parse(text, around()).objects["pool/p"] == {
        "description": "",
        "strategy": "weighted_round_robin",
        "session_affinity": False,
        "session_affinity_ttl_s": 5400,
        "failover_enabled": False,
        "failover_max_attempts": 1,
        "failover_on_statuses": [],
        "failover_on_model_errors": False,
        "when_all_blocked": "fail",
    }


@pytest.mark.parametrize(
    ("aliases", "problem"),
    [
        ("{a: a}", 'a: "a" leads back to this alias'),
        ("{a: one}", 'a: unknown target "one": neither a pool nor provider/model of a known provider'),
        ("{a: six/m}", 'a: unknown target "six/m": neither a pool nor provider/model of a known provider'),
        ("{a: one/}", 'a: unknown target "one/": neither a pool nor provider/model of a known provider'),
        ("{a: pol}", 'a: unknown target "pol": neither a pool nor provider/model of a known provider; did you '
         "mean pool?"),
        ("{pool: one/m}", "pool: a pool has this name; an alias and a pool cannot share one"),
        ("{a: }", "a: must be a text"),
        ('{" a": pool, a: pool}', 'a: the name "a" stands twice once the white space around it is removed'),
    ],
)  # fmt: skip
def test_parse_refuses_an_alias(aliases, problem):
    """T12: an alias leads to a canonical model or an exact name, and shares no name with a pool."""
    assert faults(f"{GOOD}aliases: {aliases}") == [f"aliases.{problem} (line 13)"]


def test_parse_refuses_aliases_of_aliases_and_loops():
    """T12: one level, no loops."""
    assert faults(f"{GOOD}aliases: {{a: b, b: a, c: good, good: pool}}") == [
        'aliases.a: "b" leads back to this alias (line 13)',
        'aliases.b: "a" leads back to this alias (line 13)',
        'aliases.c: "good" is an alias itself; an alias must lead to a canonical model or provider/model (line 13)',
    ]


def test_parse_lets_a_file_refer_to_what_stays_without_prune():
    """T13: a provider is known when it will be there after the import."""
    current = {"provider/old": {}, "pool/older": {}, "alias/short": {"target": "older"}}
    text = dedent("""\
        aliases: {a: older, b: old/m, c: short}
        routing:
          model_pools:
            p:
              candidates: [{provider: old, model: m}]
        """)

    assert faults(text, around(current=current)) == [
        'aliases.c: "short" is an alias itself; an alias must lead to a canonical model or provider/model (line 1)'
    ]
    unknown = "neither a pool nor provider/model of a known provider (line 1)"
    assert faults(text, around(current=current, prune=True)) == [
        f'aliases.a: unknown target "older": {unknown}',
        f'aliases.b: unknown target "old/m": {unknown}',
        f'aliases.c: unknown target "short": {unknown}',
        'routing.model_pools.p.candidates[0].provider: unknown provider "old"; add it first (line 5)',
    ]


def test_parse_refuses_a_pool_named_like_an_alias_that_stays():
    """T12: the two cannot share a name, wherever they come from."""
    current = {"alias/pool": {"target": "one/m"}}

    assert faults(GOOD, around(current=current)) == [
        "routing.model_pools.pool: an alias has this name; an alias and a pool cannot share one (line 10)"
    ]
    assert faults(GOOD, around(current=current, prune=True)) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("{}", "type: is required"),
        ("", "type: is required"),
        ("{type: openai_compatible}", "base_url: is required for the type openai_compatible"),
        ("{type: vllm, base_url: nowhere}", "base_url: must be a URL such as https://api.example.com/v1"),
        (
            "{type: vllm, base_url: 'ftp://h/v1'}",
            "base_url: must be a URL such as https://api.example.com/v1",
        ),
        ("{type: vllm, base_url: 'http://h:99999/v1'}", "base_url: is not a URL"),
        (
            "{type: vllm, base_url: 'http://u:p@h/v1'}",
            "base_url: must not hold a user name or password; the key has a field of its own",
        ),
        ("{type: vllm, base_url: 'http://h/v1?x=1'}", "base_url: must not have a query or a fragment"),
        (
            "{type: vllm, base_url: 'http://169.254.169.254/v1'}",
            "base_url: is a link-local address, which is never called",
        ),
        (
            "{type: vllm, base_url: 'http://[fe80::1]/v1'}",
            "base_url: is a link-local address, which is never called",
        ),
        ("{type: vllm, models: gpt}", "models: must be a list"),
        ("{type: vllm, models: [{name: gpt}]}", "models[0]: must be a model id, or a mapping with id"),
        ("{type: vllm, timeouts: {connect: 0}}", "timeouts.connect: must be above 0"),
        ("{type: vllm, timeouts: {conect: 1}}", "timeouts.conect: unknown key; did you mean connect?"),
        ("{type: vllm, options: {a: [b]}}", "options.a: must be a text"),
        ("[vllm]", "must be a mapping of keys and values"),
    ],
)
def test_parse_refuses_a_provider(fields, problem):
    found = faults(f"providers:\n  p: {fields}\n")

    assert [line.removeprefix("providers.p").lstrip(".").removeprefix(": ") for line in found] == [
        f"{problem} (line 2)"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a b", "a provider name has letters, digits, dot, underscore and hyphen only"),
        ('" "', "must not be empty"),
        ("x" * 101, "is longer than 100 characters"),
    ],
)
def test_parse_refuses_the_name_of_a_provider(name, problem):
    assert [line.partition(": ")[2] for line in faults(f"providers:\n  ? {name}\n  : {{type: vllm}}\n")] == [
        f"{problem} (line 2)"
    ]


# --- references and secrets ---


def test_parse_expands_references_after_parsing():
    """A value that looks like YAML stays a value."""
    environment = {"HOST": "h/v1\n  evil: {}", "ATTEMPTS": "4", "MODEL": "m: [x]"}
    text = dedent("""\
        providers:
          one: {type: vllm, base_url: "http://${HOSTNAME:-localhost}:${PORT:-80}/v1", models: ["${MODEL}", "$${MODEL}"]}
        routing: {defaults: {failover: {max_attempts: "${ATTEMPTS:-3}", enabled: "${ON:-false}"}}}
        """)
    file = parse(text, around(environment))

    assert file.problems == ()
    assert file.objects["provider/one"]["base_url"] == "http://localhost:80/v1"
    assert file.objects["provider/one"]["configured_models"] == ["m: [x]", "${MODEL}"]
    assert file.objects["defaults"]["failover_max_attempts"] == 4
    assert file.objects["defaults"]["failover_enabled"] is False
    assert faults('providers: {one: {type: vllm, models: ["${HOST}"]}}', around(environment)) == [
        "providers.one.models[0]: must be one line without control characters (line 1)"
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("${NOWHERE}", "${NOWHERE} is not set and has no default (${NAME:-default})"),
        ("${}", "is not a reference of the form ${NAME} or ${NAME:-default}"),
        ("${A B}", "is not a reference of the form ${NAME} or ${NAME:-default}"),
        ("x${OPEN", "is not a reference of the form ${NAME} or ${NAME:-default}"),
        ("${SECRET_KEY}", "SECRET_KEY is not for here"),
    ],
)
def test_parse_refuses_a_reference(value, problem):
    surroundings = around(forbidden=lambda name: f"{name} is not for here" if name == "SECRET_KEY" else "")
    found = faults(f'providers:\n  one: {{type: vllm}}\naliases:\n  a: "{value}"\n', surroundings)

    assert found[0] == f"aliases.a: {problem} (line 4)"


def test_parse_keeps_a_credential_as_a_reference():
    surroundings = around({"ONE_KEY": "sk-secret-value"})
    file = parse(GOOD, surroundings)

    assert file.objects["provider/one"]["credential"] == "${ONE_KEY}"
    assert "sk-secret-value" not in repr(file)


def test_parse_reports_a_credential_that_cannot_be_resolved():
    assert faults(GOOD, around(credential_problem=lambda text: "ONE_KEY is not set.")) == [
        "providers.one.api_key: ONE_KEY is not set. (line 4)"
    ]


def test_parse_refuses_a_literal_key_without_encryption_and_never_shows_it():
    text = "providers:\n  one: {type: openai, api_key: sk-very-secret}\n"
    file = parse(text, around(literal_key_problem="Set GATEWAY_ENCRYPTION_KEYS."))

    assert [str(problem) for problem in file.problems] == [
        "providers.one.api_key: a literal key cannot be stored. Set GATEWAY_ENCRYPTION_KEYS. (line 2)"
    ]
    assert "sk-very-secret" not in repr(file)


def test_parse_hands_a_literal_key_over_apart_from_the_objects():
    text = "providers:\n  one: {type: openai, api_key: sk-very-secret}\n"
    file = parse(text, around(credential_label=lambda secret: f"set …{secret[-3:]}"))

    assert (file.problems, file.secrets) == ((), {"one": "sk-very-secret"})
    assert file.objects["provider/one"]["credential"] == "set …ret"
    assert "sk-very-secret" not in repr(file)


def test_parse_refuses_a_credential_around_a_reference():
    text = 'providers:\n  one: {type: openai, api_key: "Bearer ${ONE_KEY}"}\n'

    assert faults(text) == [
        "providers.one.api_key: must be one reference ${NAME} or ${NAME:-default}, with nothing around it (line 2)"
    ]


def test_parse_tells_an_absent_credential_from_an_empty_one():
    text = 'providers:\n  kept: {type: vllm}\n  cleared: {type: vllm, api_key: ""}\n  also_kept: {type: vllm, api_key: }\n'
    objects = parse(text, around()).objects

    assert ["credential" in objects[f"provider/{name}"] for name in ("kept", "also_kept")] == [False, False]
    assert objects["provider/cleared"]["credential"] == ""


def test_parse_warns_of_a_provider_without_the_key_it_needs():
    text = "providers:\n  one: {type: openai}\n"

    assert notes(text) == [
        "providers.one: has no api_key and none is stored: its provider will refuse every request (line 2)"
    ]
    assert (
        notes(
            text,
            around(current={"provider/one": {"kind": "openai", "base_url": "", "credential": "set …abc"}}),
        )
        == []
    )


@pytest.mark.parametrize(
    ("base_url", "problems"),
    [
        ("https://api.openai.com:443/v2", []),
        ("https://example.com/v1", ["the base URL leads to another host than before: give the key again"]),
        ("http://api.openai.com/v1", ["the base URL leads to another host than before: give the key again"]),
    ],
)
def test_parse_does_not_carry_a_stored_credential_to_another_host(base_url, problems):
    current = {"provider/one": {"kind": "openai", "base_url": "", "credential": "set …abc"}}
    found = faults(f"providers:\n  one: {{type: openai, base_url: '{base_url}'}}\n", around(current=current))

    assert found == [f"providers.one.base_url: {problem} (line 2)" for problem in problems]


# --- GoModel ---


def test_parse_names_and_skips_what_only_gomodel_has():
    text = dedent("""\
        server: {port: "${PORT}"}
        cache: {model: {}}
        storage: {type: sqlite}
        logging: {enabled: off}
        guardrails: {rules: [{name: a}]}
        budgets: {}
        models: {enabled_by_default: true, configured_provider_models_mode: allowlist}
        providers:
          azure: {type: azure, api_key: "${AZURE_API_KEY}", base_url: "https://x/openai/deployments/gpt-5", api_version: "2024-10-21"}
          local:
            type: ollama
            resilience: {retry: {max_retries: 5}}
            models: [{id: GLM, metadata: {context_window: 131072}}, Gemma]
        """)
    file = parse(text, around())

    assert file.problems == ()
    assert file.objects["provider/local"]["configured_models"] == ["GLM", "Gemma"]
    assert file.objects["provider/azure"]["kind"] == "azure_openai"
    assert file.objects["provider/azure"]["options"] == {"api_version": "2024-10-21"}
    assert file.objects["defaults"] == {"configured_provider_models_mode": "allowlist"}
    assert [re.sub(r": .*\((line \d+)\)", r" \1", str(warning)) for warning in file.warnings] == [
        "server line 1",
        "cache line 2",
        "storage line 3",
        "logging line 4",
        "guardrails line 5",
        "budgets line 6",
        "models.enabled_by_default line 7",
        "providers.azure.type line 9",
        "providers.local.resilience line 12",
        "providers.local.models[0].metadata line 13",
    ]


def test_api_version_is_the_option_of_that_name():
    text = """
        providers:
          one: {type: azure_openai, base_url: "https://x", api_version: "1", options: {api_version: "1"}}
          two: {type: azure_openai, base_url: "https://x", api_version: "1", options: {api_version: "2"}}
        """
    assert faults(text) == [
        "providers.two.api_version: differs from the option api_version; give one of them (line 4)"
    ]


# --- the plan ---


def test_plan_lays_a_file_over_what_is():
    current = plan({}, parse(GOOD, around()).objects, prune=False).target
    current["provider/one"] |= {"enabled": False, "switch_reason": "storm"}
    current["client_key/1"] = {"name": "ada"}
    current["candidate/pool/two/x"] = {"priority": 1, "weight": 1, **NEW_SWITCH}
    current["alias/old"] = {"target": "pool"}
    text = GOOD.replace("model: m}", "model: m, weight: 7}").replace("  two:", "  three:")
    desired = parse(text, around(current=current)).objects
    kept, pruned = plan(current, desired, prune=False), plan(current, desired, prune=True)

    assert list(lines(kept.changes, kept.kept)) == [
        "+ provider three (base_url=http://127.0.0.1:9000/v1, kind=openai_compatible)",
        "~ candidate one/m of pool pool weight: 1 -> 7",
        "  kept, not in file: provider two",
        "  kept, not in file: candidate two/x of pool pool",
        "  kept, not in file: alias old",
    ]
    assert kept.missing == ("candidate/pool/two/x",)
    assert kept.target["provider/one"] == current["provider/one"]
    assert list(lines(pruned.changes, pruned.kept)) == [
        "+ provider three (base_url=http://127.0.0.1:9000/v1, kind=openai_compatible)",
        "- provider two",
        "~ candidate one/m of pool pool weight: 1 -> 7",
        "- candidate two/x of pool pool",
        "- alias old",
    ]
    assert pruned.target["client_key/1"] == {"name": "ada"}


def test_plan_resets_defaults_only_when_pruning():
    current = {"defaults": {**UNSET_DEFAULTS, "session_affinity": False}}
    kept, pruned = plan(current, {}, prune=False), plan(current, {}, prune=True)

    assert (kept.is_drift, list(lines(kept.changes, kept.kept))) == (False, ["  kept, not in file: defaults"])
    assert (pruned.is_drift, list(lines(pruned.changes, pruned.kept))) == (
        True,
        ["~ defaults session_affinity: false -> unset"],
    )


def test_plan_counts_candidates_that_a_named_pool_lacks_as_drift():
    current = plan({}, parse(GOOD, around()).objects, prune=False).target
    current["candidate/pool/two/x"] = {"priority": 1, "weight": 1, **NEW_SWITCH}
    desired = parse(GOOD, around()).objects

    assert plan(current, desired, prune=False).is_drift
    assert not plan(plan({}, desired, prune=False).target, desired, prune=True).is_drift


# --- the inverse ---

words = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12
) | st.sampled_from(
    ["off", "no", "010", "30:00", "~", "null", "1e3", "${X}", "$${X}", "a/b:c", "- x", "# y", "<<", "=", "!t"]
)
provider_names = st.from_regex(r"[A-Za-z0-9._-]{1,10}", fullmatch=True)
seconds = st.none() | st.integers(1, 10_000).map(float) | st.floats(0.001, 1000)
policies = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["", "priority_failover", "weighted_round_robin"]),
        "session_affinity": st.none() | st.booleans(),
        "session_affinity_ttl_s": st.none() | st.integers(1, 100_000),
        "failover_enabled": st.none() | st.booleans(),
        "failover_max_attempts": st.none() | st.integers(1, 9),
        "failover_on_statuses": st.none() | st.lists(st.integers(100, 599), max_size=4),
        "failover_on_model_errors": st.none() | st.booleans(),
        "when_all_blocked": st.sampled_from(["", "keep_last", "fail", "last_resort"]),
    }
)
switches = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "switch_reason": st.sampled_from(["", "storm"]),
        "switch_base": st.just(True),
        "switch_expires_at": st.none(),
    }
)
provider_fields = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(sorted(name for name, kind in KINDS.items() if kind.default_base_url)),
        "base_url": st.sampled_from(["", "https://api.example.com/v1"]),
        "credential": st.sampled_from(["", "${ONE_KEY}", "${ONE_KEY:-x}", "set …f3a"]),
        "configured_models": st.lists(words, max_size=3),
        "options": st.dictionaries(words, words | st.just(""), max_size=2).map(
            lambda found: {**found, "region": "eu-west-1"}
        ),
        "connect_timeout_s": seconds,
        "first_byte_timeout_s": seconds,
        "idle_timeout_s": seconds,
        "total_timeout_s": seconds,
        "max_in_flight": st.none() | st.integers(1, 100),
    }
)
ranks = st.integers(1, 1_000_000)


@st.composite
def documents(draw):
    """Any configuration that the tables can hold, a pool without candidates aside."""
    document = {
        "defaults": {
            **draw(policies),
            "configured_provider_models_mode": draw(st.sampled_from(["fallback", "allowlist"])),
        }
    }
    names = draw(st.lists(provider_names, min_size=1, max_size=3, unique=True))
    for name in names:
        document[object_key("provider", name)] = {**draw(provider_fields), **draw(switches)}
    pools = draw(st.lists(words, max_size=3, unique=True))
    for pool in pools:
        document[object_key("pool", pool)] = {
            "description": draw(words | st.just("")),
            **draw(policies),
            **draw(switches),
        }
        pairs = draw(st.lists(st.tuples(st.sampled_from(names), words), min_size=1, max_size=3, unique=True))
        for pair in pairs:
            document[object_key("candidate", pool, *pair)] = {
                "priority": draw(ranks),
                "weight": draw(ranks),
                **draw(switches),
            }
    for alias in draw(st.lists(words.filter(lambda word: word not in pools), max_size=2, unique=True)):
        target = draw(st.sampled_from([*pools, f"{names[0]}/m"]))
        document[object_key("alias", alias)] = {"target": target}
    document["client_key/1"] = {"name": "ada"}
    return document


@given(documents())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_import_of_an_export_changes_nothing(document):
    file = parse(render(document), around(current=document, prune=True))

    assert file.problems == ()
    assert plan(document, file.objects, prune=True).changes == ()


def test_render_leaves_stored_keys_out_with_a_comment():
    document = plan({}, parse(GOOD, around()).objects, prune=False).target
    document["provider/two"]["credential"] = "set …f3a"
    text = render(document)

    assert text == dedent("""\
        providers:
          one:
            type: openai
            api_key: ${ONE_KEY}
          two:
            type: openai_compatible
            base_url: http://127.0.0.1:9000/v1
            # api_key: set …f3a. It is not exported; an import of this file leaves it as it is.

        routing:
          model_pools:
            pool:
              candidates:
              - provider: one
                model: m
                priority: 1
                weight: 1
        """)


def test_render_says_which_pool_it_leaves_out():
    assert render({"pool/empty": {**UNSET_POOL, **NEW_SWITCH}}) == (
        "{}\n# The pool empty has no candidates and is left out.\n"
    )
    assert parse(render({}), around()).problems == ()


def test_example_is_whole_and_right():
    file = parse(EXAMPLE.read_bytes(), around())

    assert (file.problems, file.warnings) == ((), ())
    target = plan({}, file.objects, prune=False).target
    again = parse(render(target), around(current=target, prune=True))
    assert (again.problems, plan(target, again.objects, prune=True).changes) == ((), ())


@pytest.mark.parametrize(
    "section",
    [
        ProviderSection,
        TimeoutsSection,
        PolicySection,
        FailoverSection,
        PoolSection,
        CandidateSection,
        ModelsSection,
    ],
)
def test_every_key_is_documented(section):
    page = (EXAMPLE.parents[1] / "configuration.md").read_text()

    assert [name for name in section.model_fields if not re.search(rf"[`.]{name}`", page)] == []


# --- nothing crashes it ---

yaml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${A}", "openai", "10s"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "providers",
                    "models",
                    "aliases",
                    "routing",
                    "defaults",
                    "model_pools",
                    "candidates",
                    "provider",
                    "model",
                    "type",
                    "api_key",
                    "base_url",
                    "timeouts",
                    "options",
                    "failover",
                    "retry_on_statuses",
                    "strategy",
                    "weight",
                    "priority",
                    "server",
                    "p",
                    "q",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.text(max_size=200) | st.text("{}[]:-,&*!|>'\"%@`#?<~ \t\n$abc019", max_size=80))
@settings(max_examples=300, deadline=None)
def test_parse_survives_any_text(text):
    file = parse(text, around())

    assert all("\n" not in str(problem) for problem in file.problems)


@given(st.binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_parse_survives_any_bytes(data):
    assert all("\n" not in str(problem) for problem in parse(data, around()).problems)


@given(yaml_values)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_parse_survives_any_yaml(value):
    import yaml

    file = parse(yaml.safe_dump(value, allow_unicode=True), around({"A": "x"}))

    if not file.problems:
        target = plan({}, file.objects, prune=True).target
        again = parse(render(target), around(current=target, prune=True))
        assert (again.problems, plan(target, again.objects, prune=True).changes) == ((), ())
