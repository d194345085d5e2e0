from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from routing import credentials
from routing.credentials import CredentialError, StoredCredential

KEY_A, KEY_B = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def environment(settings):
    settings.GATEWAY_SECRET_ENVIRONMENT = {}
    settings.GATEWAY_SECRET_ENV_ALLOW = ["*_KEY", "*_KEY_*", "*_TOKEN"]
    settings.GATEWAY_ENCRYPTION_KEYS = []
    return settings.GATEWAY_SECRET_ENVIRONMENT


def test_reference_resolves_from_the_environment(environment):
    environment["OPENAI_API_KEY"] = "sk-1\n"

    assert credentials.resolve_reference("${OPENAI_API_KEY}") == "sk-1"


def test_reference_resolves_from_a_file(environment, tmp_path):
    (tmp_path / "key").write_text("sk-from-file\n")
    environment["OPENAI_API_KEY_FILE"] = str(tmp_path / "key")

    assert credentials.resolve_reference("${OPENAI_API_KEY}") == "sk-from-file"


def test_reference_reports_a_file_that_cannot_be_read(environment, tmp_path):
    environment["OPENAI_API_KEY_FILE"] = str(tmp_path / "absent")

    assert credentials.reveal("${OPENAI_API_KEY}", "") == (
        None,
        "The file named by OPENAI_API_KEY_FILE cannot be read.",
    )


@pytest.mark.parametrize(("value", "expected"), [(None, "demo"), ("", "demo"), ("real", "real")])
def test_reference_default_counts_when_unset_or_empty(environment, value, expected):
    if value is not None:
        environment["DEMO_KEY"] = value

    assert credentials.resolve_reference("${DEMO_KEY:-demo}") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${OPENAI_API_KEY}", "OPENAI_API_KEY is not set, and there is no OPENAI_API_KEY_FILE."),
        ("${HOME}", "HOME is not allowed by GATEWAY_SECRET_ENV_ALLOW."),
        ("${SECRET_KEY}", "SECRET_KEY is a setting of the gateway itself and cannot be a credential."),
        (
            "${SECRET_KEY_FILE}",
            "SECRET_KEY_FILE is a setting of the gateway itself and cannot be a credential.",
        ),
        (
            "${GATEWAY_ENCRYPTION_KEY_1}",
            "GATEWAY_ENCRYPTION_KEY_1 is a setting of the gateway itself and cannot be a credential.",
        ),
        ("Bearer ${OPENAI_API_KEY}", "Not a reference of the form ${NAME}."),
    ],
)
def test_reference_problem_names_the_cause(environment, text, problem):
    environment.update({"SECRET_KEY": "x", "HOME": "/root", "GATEWAY_ENCRYPTION_KEY_1": "x"})

    assert credentials.reference_problem(text) == problem


def test_own_settings_stay_closed_when_everything_is_allowed(environment, settings):
    settings.GATEWAY_SECRET_ENV_ALLOW = ["*"]
    environment["DATABASE_URL"] = "postgres://u:p@h/d"

    with pytest.raises(CredentialError, match="a setting of the gateway itself"):
        credentials.resolve_reference("${DATABASE_URL}")


def test_store_keeps_a_reference_as_written(environment):
    assert credentials.store(" ${OPENAI_API_KEY} ") == StoredCredential(ref="${OPENAI_API_KEY}")


def test_store_encrypts_a_key_and_keeps_a_hint(environment, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [KEY_A]

    stored = credentials.store("sk-abcdefghijf3a")

    assert (stored.ref, stored.hint) == ("", "…f3a")
    assert "abcdefghij" not in stored.encrypted
    assert credentials.reveal("", stored.encrypted) == ("sk-abcdefghijf3a", "")
    assert stored.encrypted not in repr(stored)


def test_store_refuses_a_key_without_encryption_keys(environment):
    with pytest.raises(CredentialError, match="GATEWAY_ENCRYPTION_KEYS is empty"):
        credentials.store("sk-abcdefghijf3a")


@pytest.mark.parametrize("text", ["${OPENAI-API-KEY}", "${A_KEY}x", "${A_KEY"])
def test_store_refuses_what_was_meant_as_a_reference(environment, settings, text):
    settings.GATEWAY_ENCRYPTION_KEYS = [KEY_A]

    with pytest.raises(CredentialError, match="A reference has the form"):
        credentials.store(text)


def test_store_of_nothing_is_no_credential(environment):
    assert credentials.store("  ") == StoredCredential()
    assert credentials.reveal("", "") == (None, "")


def test_hint_of_a_short_secret_shows_nothing():
    assert credentials.hint("short") == "…"


def test_rotation_moves_a_token_to_the_first_key(environment, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [KEY_A]
    old = credentials.encrypt("secret")
    settings.GATEWAY_ENCRYPTION_KEYS = [KEY_B, KEY_A]

    rotated = credentials.rotate(old)

    settings.GATEWAY_ENCRYPTION_KEYS = [KEY_B]
    assert credentials.decrypt(rotated) == "secret"
    assert credentials.reveal("", old) == (
        None,
        "The stored key was encrypted with a key that GATEWAY_ENCRYPTION_KEYS no longer has.",
    )


def test_malformed_encryption_key_is_named_without_being_shown(environment, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = ["not-a-fernet-key"]

    with pytest.raises(CredentialError) as caught:
        credentials.encrypt("secret")

    assert str(caught.value) == "GATEWAY_ENCRYPTION_KEYS holds something that is not a Fernet key."


def test_secret_with_a_line_break_is_refused_where_it_is_given(environment, settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [KEY_A]
    environment["OPENAI_API_KEY"] = "sk-1\nx-evil: 1"

    with pytest.raises(CredentialError, match=r"^OPENAI_API_KEY has a line break or another character"):
        credentials.resolve_reference("${OPENAI_API_KEY}")
    with pytest.raises(CredentialError, match=r"^The key has a line break or another character"):
        credentials.store("sk-1\r\nx-evil: 1")
