"""What follows from a failure: failover, cooldowns, deadlines, the retry budget."""

import random
from math import inf, nan

import pytest

from routing.policies import (
    Failure,
    RetryBudget,
    attempt_ends_at,
    attempts_allowed,
    cooldown_s,
    deadline_at,
    is_model_error,
    policy_values,
    refuses_credential,
    should_fail_over,
)
from routing.types import FailoverPolicy, Pool, PoolPolicy, Timeouts

ON = FailoverPolicy()


def status(number, **kwargs):
    return Failure("status", number, **kwargs)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure("connect"), True),
        (Failure("timeout"), True),
        (Failure("protocol"), True),
        (status(302), True),
        (status(429), True),
        (status(500), True),
        (status(503), True),
        (status(501), False),
        (status(401), True),
        (status(402), True),
        (status(403), True),
        (status(400, code="bad_key", refused_credential=True), True),
        (status(404), True),
        (status(400, code="model_not_found"), True),
        (status(400, message="The model `x` has been deprecated"), True),
        (status(400, message="max_tokens is too large"), False),
        (status(413), False),
        (status(422, message="messages: field required"), False),
    ],
)
def test_should_fail_over_by_failure(failure, expected):
    assert should_fail_over(failure, ON) is expected


@pytest.mark.parametrize("failure", [Failure("connect"), status(500), status(404), status(401)])
def test_should_fail_over_never_when_switched_off(failure):
    """T35: ``enabled: false`` means exactly one upstream call."""
    policy = FailoverPolicy(enabled=False)
    assert should_fail_over(failure, policy) is False
    assert attempts_allowed(policy) == 1


@pytest.mark.parametrize(("max_attempts", "allowed"), [(1, 1), (2, 2), (5, 5)])
def test_attempts_allowed_counts_the_first_call(max_attempts, allowed):
    """T35: ``max_attempts: 1`` means exactly one upstream call."""
    assert attempts_allowed(FailoverPolicy(max_attempts=max_attempts)) == allowed


def test_failover_is_on_by_default():
    """T39: the policy nobody wrote is the documented one, not off."""
    assert PoolPolicy().failover == FailoverPolicy(True, 3, frozenset({429, 500, 502, 503, 504}), True)
    assert should_fail_over(status(503), Pool("m").policy.failover) is True


@pytest.mark.parametrize(
    ("statuses", "model_errors", "failure", "expected"),
    [
        ({404}, False, status(404), True),
        (set(), True, status(404), True),
        (set(), False, status(404), False),
        (set(), True, status(500), False),
        ({500}, False, status(500), True),
        ({400}, False, status(400, message="temperature is too high"), True),
        ({500}, True, status(500, code="model_not_available"), True),
        ({500}, False, status(400, code="model_not_found"), False),
    ],
)
def test_statuses_and_model_errors_do_not_gate_each_other(statuses, model_errors, failure, expected):
    """T30: the list decides statuses, the flag decides model errors."""
    policy = FailoverPolicy(retry_on_statuses=frozenset(statuses), retry_on_model_errors=model_errors)
    assert should_fail_over(failure, policy) is expected


@pytest.mark.parametrize(
    "failure",
    [
        status(404, code="model_not_found", message="The model `gpt-9` does not exist", param=None),
        status(400, code="model_not_found", param="model"),
        status(404, code="DeploymentNotFound"),
        status(400, code="model_decommissioned"),
        status(403, code="model_not_found"),
        status(
            400, message="The model `gpt-9` does not exist or you do not have access to it.", param="model"
        ),
        status(400, message="Model not found gpt-4.1-mini"),
        status(400, message="The requested model gpt-4.1 is unavailable in your region"),
        status(422, message="Unsupported model: x-1"),
        status(400, message="This model has been retired."),
        status(400, message="This model is no longer available. Use another."),
        status(400, message="model claude-2.1 is deprecated"),
        status(400, message="The model is disabled for this account"),
    ],
)
def test_model_error_is_recognised(failure):
    """T31: OpenAI's ``model_not_found`` and "does not exist" among them."""
    assert is_model_error(failure) is True


@pytest.mark.parametrize(
    "failure",
    [
        status(400, message="Unsupported value: 'temperature' does not support 0.2 with this model."),
        status(
            400,
            code="unsupported_value",
            message="Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
            param="messages[0].role",
        ),
        status(400, message="The model `x` does not exist", param="messages"),
        status(400, message="Unsupported parameter: 'max_tokens' is not supported with this model."),
        status(400, message="'logprobs' is unavailable for this model. Use another parameter."),
        status(400, message="This model's maximum context length is 8192 tokens"),
        status(400, message="The image was not found"),
        status(401, message="model not found"),
        status(500, message="The model `x` does not exist"),
        Failure("connect", message="The model `x` does not exist"),
        status(400),
    ],
)
def test_model_error_is_not_seen_where_there_is_none(failure):
    assert is_model_error(failure) is False


def test_refused_credential_is_401_or_what_the_adapter_says():
    assert refuses_credential(status(401)) is True
    assert refuses_credential(status(400, refused_credential=True)) is True
    assert refuses_credential(status(403)) is False
    assert refuses_credential(Failure("connect")) is False


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, 10.0), (0.5, 0.5), (0, 0), (-3, 0), (30, 30), (9999, 300), (inf, 300), (nan, 10)],
)
def test_cooldown_is_what_the_provider_said_within_bounds(given, expected):
    assert cooldown_s(given) == expected


def test_one_deadline_covers_all_attempts():
    timeouts = Timeouts(first_byte_s=30, total_s=50)
    deadline = deadline_at(100.0, timeouts)
    assert deadline == 150.0
    assert attempt_ends_at(100.0, deadline, timeouts) == 130.0
    assert attempt_ends_at(130.0, deadline, timeouts) == 150.0


def run_calls(budget, calls, fails, attempts=3):
    """Play client calls through the budget; answer (upstream calls, refused retries)."""
    upstream = refused = 0
    for _ in range(calls):
        budget.call()
        for attempt in range(attempts):
            if attempt and not budget.allows_retry():
                refused += 1
                break
            upstream += 1
            if not fails():
                budget.success()
                break
            if attempt:
                budget.retry_failed()
    return upstream, refused


@pytest.mark.parametrize("calls", [1, 5, 10, 40, 100, 1000])
def test_retry_budget_binds_under_a_full_outage(calls):
    upstream, _ = run_calls(RetryBudget(), calls, lambda: True)
    assert upstream <= 1.2 * calls + 3


@pytest.mark.parametrize("calls", [50, 100, 1000])
def test_retry_budget_binds_when_the_outage_follows_good_times(calls):
    budget = RetryBudget()
    run_calls(budget, 1000, lambda: False)
    upstream, _ = run_calls(budget, calls, lambda: True)
    assert upstream <= 1.2 * calls + 3


@pytest.mark.parametrize("seed", range(5))
def test_retry_budget_refuses_nothing_at_thirty_percent(seed):
    draw = random.Random(seed)
    _, refused = run_calls(RetryBudget(), 10_000, lambda: draw.random() < 0.3)
    assert refused == 0


def test_retry_budget_recovers_when_only_the_first_choice_is_broken():
    """Retries trickle on after an outage, so that a healthy second choice is found again."""
    budget = RetryBudget()
    run_calls(budget, 500, lambda: True)
    served = 0
    for _ in range(100):
        budget.call()
        if budget.allows_retry():
            budget.success()
            served += 1
    assert served >= 79


def test_policy_values_name_their_source():
    """T42 as explain shows it: what the pool sets itself, and what the defaults say."""
    pool = Pool(
        "m",
        policy=PoolPolicy(failover=FailoverPolicy(max_attempts=5)),
        overrides=frozenset({"failover.max_attempts"}),
    )
    assert policy_values(pool) == {
        "strategy": {"value": "priority_failover", "source": "defaults"},
        "session_affinity": {"value": True, "source": "defaults"},
        "session_affinity_ttl_s": {"value": 1800, "source": "defaults"},
        "failover.enabled": {"value": True, "source": "defaults"},
        "failover.max_attempts": {"value": 5, "source": "pool"},
        "failover.retry_on_statuses": {"value": [429, 500, 502, 503, 504], "source": "defaults"},
        "failover.retry_on_model_errors": {"value": True, "source": "defaults"},
        "when_all_blocked": {"value": "keep_last", "source": "defaults"},
    }
