from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core import checks as django_checks
from django.core.management import CommandError, call_command

from routing import checks, credentials
from tests import factories

STOCK = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
OWN = {"BACKEND": "routing.cachebackends.SluiceLocMemCache"}


def ids(messages):
    return [message.id for message in messages]


def test_settings_as_they_are_have_no_errors():
    assert [m for m in django_checks.run_checks() if m.level >= django_checks.ERROR] == []


@pytest.mark.parametrize("config", [STOCK, {"BACKEND": "nowhere.Cache"}])
def test_cache_that_takes_no_tickets_is_refused(settings, config):
    settings.CACHES = {"default": OWN, "pins": OWN, "health": OWN, "tickets": config}

    messages = checks.check_cache_backends(None)

    assert ids(messages) == ["sluice.E001"]
    assert messages[0].msg.startswith("The cache 'tickets' cannot hold routing state: ")
    assert messages[0].hint == "Use the backends of routing.cachebackends, as the settings do from CACHE_URL."


@pytest.mark.parametrize(("workers", "found"), [(1, []), (2, ["sluice.E002"])])
def test_many_workers_need_a_shared_cache(settings, workers, found):
    settings.GATEWAY_WORKERS = workers
    settings.CACHES = dict.fromkeys(("default", "pins", "tickets", "health"), OWN)

    assert ids(checks.check_workers_share_a_cache(None)) == found


def test_many_workers_with_redis_are_fine(settings):
    settings.GATEWAY_WORKERS = 4
    shared = {"BACKEND": "routing.cachebackends.SluiceRedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = dict.fromkeys(("default", "pins", "tickets", "health"), shared)

    assert checks.check_workers_share_a_cache(None) == []


def test_malformed_encryption_key_is_refused_without_being_shown(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), "oops"]

    messages = checks.check_encryption_keys(None)

    assert ids(messages) == ["sluice.E003"]
    assert messages[0].msg == "Entry 2 of GATEWAY_ENCRYPTION_KEYS is not a Fernet key."


@pytest.mark.django_db
@pytest.mark.parametrize("later", [[], [Fernet.generate_key().decode()]])
def test_stored_keys_that_cannot_be_read_are_named(settings, later):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    factories.ProviderFactory(name="p", credential_encrypted=credentials.encrypt("sk"))
    assert checks.check_stored_keys(None, databases=["default"]) == []

    settings.GATEWAY_ENCRYPTION_KEYS = later

    messages = checks.check_stored_keys(None, databases=["default"])
    assert ids(messages) == ["sluice.E004"]
    assert messages[0].msg == "The stored keys of these providers cannot be decrypted: p."


def test_stored_keys_are_not_read_without_being_asked():
    assert checks.check_stored_keys(None) == []


@pytest.mark.parametrize(("allowed", "found"), [(["*"], ["sluice.W001"]), (["*_API_KEY"], [])])
def test_allow_list_that_allows_everything_is_warned_of(settings, allowed, found):
    settings.GATEWAY_SECRET_ENV_ALLOW = allowed

    assert ids(checks.check_secret_allow_list(None)) == found


@pytest.mark.parametrize(
    ("anonymous", "bind", "found"),
    [
        (True, "0.0.0.0:8000", ["sluice.E005"]),
        (True, "127.0.0.1:8000", []),
        (True, "[::1]:8000", []),
        (False, "0.0.0.0:8000", []),
    ],
)
def test_anonymous_is_for_the_loopback_only(settings, anonymous, bind, found):
    settings.GATEWAY_ALLOW_ANONYMOUS, settings.GATEWAY_BIND = anonymous, bind

    assert ids(checks.check_anonymous_stays_home(None)) == found


@pytest.mark.parametrize(
    ("stored", "key", "found"),
    [
        ("x" * 60, "x" * 60, ["sluice.W002"]),
        (None, "short", ["sluice.W002"]),
        (None, "x" * 60, []),
        ("y" * 60, "x" * 60, []),
    ],
)
def test_local_or_short_secret_key_is_warned_of(settings, tmp_path, stored, key, found):
    settings.VAR_DIR, settings.SECRET_KEY = tmp_path, key
    if stored is not None:
        (tmp_path / "secret_key").write_text(stored)

    assert ids(checks.check_secret_key(None)) == found


@pytest.mark.django_db
def test_rotate_encryption_says_how_many_keys_it_encrypted(settings, capsys):
    old = Fernet.generate_key().decode()
    settings.GATEWAY_ENCRYPTION_KEYS = [old]
    factories.ProviderFactory(credential_encrypted=credentials.encrypt("sk"))
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), old]

    call_command("rotate_encryption")

    assert capsys.readouterr().out == "Encrypted anew: 1.\n"


@pytest.mark.django_db
def test_rotate_encryption_changes_nothing_when_a_key_is_lost(settings):
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    row = factories.ProviderFactory(credential_encrypted=credentials.encrypt("sk"))
    settings.GATEWAY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotate_encryption")

    before = row.credential_encrypted
    row.refresh_from_db()
    assert row.credential_encrypted == before


def test_rotate_encryption_prints_a_fresh_key(capsys):
    call_command("rotate_encryption", "--new-key")

    Fernet(capsys.readouterr().out.strip())
