from __future__ import annotations

import pytest

from proxying.auth import ANONYMOUS, CallerRules, authenticate, is_loopback, user_path
from proxying.errors import AuthenticationError
from tests.proxying.gateway import SECRET, caller

RULES = CallerRules()


def found(headers, *callers, now=100.0, rules=RULES):
    return authenticate(headers, {one.digest: one for one in callers or (caller(),)}, rules, now)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET} "},
        {"x-api-key": SECRET},
        {"authorization": "Basic abc", "x-api-key": SECRET},
    ],
)
def test_key_is_taken_from_either_header(headers) -> None:
    assert found(headers) == caller()


@pytest.mark.parametrize(
    ("headers", "owner", "message"),
    [
        ({}, caller(), "No API key was given."),
        ({"authorization": "Bearer "}, caller(), "No API key was given."),
        ({"x-api-key": "sk-sluice-other"}, caller(), "The API key is not known."),
        ({"x-api-key": "x" * 10_000}, caller(), "The API key is not known."),
        ({"x-api-key": SECRET}, caller(enabled=False), "The API key is switched off."),
        ({"x-api-key": SECRET}, caller(expires_at=100.0), "The API key has expired."),
        ({"x-api-key": "sluice-admin-x"}, caller(), "This is an admin token;"),
    ],
)
def test_refused_key_says_why(headers, owner, message) -> None:
    with pytest.raises(AuthenticationError) as refused:
        found(headers, owner)
    assert refused.value.message.startswith(message)
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


def test_key_is_valid_until_it_expires() -> None:
    owner = caller(expires_at=100.5)
    assert found({"x-api-key": SECRET}, owner) == owner


def test_anonymous_is_allowed_only_without_a_key() -> None:
    rules = CallerRules(allow_anonymous=True)
    assert found({}, rules=rules) == ANONYMOUS
    with pytest.raises(AuthenticationError):
        found({"x-api-key": "wrong"}, rules=rules)


@pytest.mark.parametrize(
    ("of_key", "asked", "path"),
    [
        ("", "/team/a", "/team/a"),
        ("/team", "/team/a/", "/team/a"),
        ("/team", "/team", "/team"),
        ("/team", "/teams", "/team"),
        ("/team", "/other", "/team"),
        ("/team", "/team/../other", "/team"),
        ("/team", "/team//a", "/team"),
        ("", "team", ""),
        ("", "/", ""),
        ("", "/a\nb", ""),
        ("", "/" + "a" * 300, ""),
    ],
)
def test_user_path_of_the_key_wins_and_may_be_extended(of_key, asked, path) -> None:
    assert user_path(of_key, asked) == path


def test_user_path_header_makes_the_callers_path() -> None:
    got = found({"x-api-key": SECRET, "x-user-path": "/team/a"}, caller(user_path="/team"))
    assert (got.user_path, got.id) == ("/team/a", "1")


@pytest.mark.parametrize(
    ("bind", "answer"),
    [
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("localhost:8000", True),
        ("unix:/run/sluice.sock", True),
        ("0.0.0.0:8000", False),
        ("[::]:8000", False),
        ("gateway.example.com:80", False),
    ],
)
def test_loopback_addresses_are_known(bind, answer) -> None:
    assert is_loopback(bind) is answer
