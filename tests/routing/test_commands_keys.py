import hashlib
import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from routing.models import AdminToken, ClientKey, RoutingRevision

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def refused(*arguments):
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert caught.value.returncode == 1
    return str(caught.value)


def test_create_api_key_prints_json_once_and_stores_a_hash():
    printed = json.loads(run("create_api_key", "shop", "--json"))
    row = ClientKey.objects.get()

    assert printed == {"id": row.pk, "name": "shop", "key": printed["key"]}
    assert printed["key"].startswith("sk-sluice-")
    assert row.digest == hashlib.sha256(printed["key"].encode()).hexdigest()
    assert printed["key"] not in json.dumps(list(RoutingRevision.objects.values_list("changes", flat=True)))


def test_create_api_key_says_what_to_do_next(settings):
    settings.GATEWAY_BIND = "127.0.0.1:8123"
    printed = run("create_api_key", "shop")
    row = ClientKey.objects.get()
    key = printed.split()[printed.split().index("now:") + 1]

    assert printed == (
        f'Created the client key "shop" (id {row.pk}). It is shown only now:\n\n  {key}\n\n'
        f"Try it:  curl http://127.0.0.1:8123/v1/models -H 'Authorization: Bearer {key}'\n"
        f"Revoke it:  manage.py revoke_api_key {row.pk}\n"
    )


def test_create_api_key_takes_path_models_and_expiry():
    run(
        "create_api_key", "shop", "--user-path", "team/a/", "--models", "gpt-5,small*", "openai/*",
        "--expires-at", "2999-01-31T12:00:00Z", "--json",
    )  # fmt: skip
    row = ClientKey.objects.get()

    assert (row.user_path, row.models) == ("/team/a", ["gpt-5", "small*", "openai/*"])
    assert row.expires_at.isoformat() == "2999-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--expires-at", "soon"],
            "--expires-at takes a date or time such as 2030-01-31 or 2030-01-31T12:00:00Z.",
        ),
        (["--expires-at", "2030-13-01"], "--expires-at: 2030-13-01 is no date."),
        (["--expires-at", "2001-01-01"], "--expires-at: 2001-01-01 has passed already."),
        (["--models", "a*b*"], "models: A list of names; a * may stand at the end of one."),
        (["--user-path", "/a//b"], "user_path: A user path looks like /team/a."),
    ],
)
def test_create_api_key_refuses(flags, message):
    assert refused("create_api_key", "shop", *flags) == message
    assert ClientKey.objects.count() == 0


@pytest.mark.parametrize("command", ["create_api_key", "create_admin_token"])
def test_what_is_refused_is_named(command):
    assert refused(command, "") == "name: This field cannot be blank."


@pytest.mark.parametrize("flags", [[], ["--read-only"]])
def test_create_admin_token_prints_json_once(flags):
    printed = json.loads(run("create_admin_token", "ci", "--json", *flags))
    row = AdminToken.objects.get()

    assert printed == {"id": row.pk, "name": "ci", "key": printed["key"]}
    assert printed["key"].startswith("sluice-admin-")
    assert row.read_only is bool(flags)
    assert row.digest == hashlib.sha256(printed["key"].encode()).hexdigest()


def test_create_admin_token_says_what_it_made():
    assert run("create_admin_token", "ci", "--read-only").startswith(
        'Created the read-only admin token "ci" (id '
    )


def test_list_api_keys_shows_the_state_of_each():
    first, second, third = (json.loads(run("create_api_key", name, "--json"))["id"] for name in "abc")
    run("revoke_api_key", str(second))
    ClientKey.objects.filter(pk=third).update(expires_at=timezone.now())
    rows = json.loads(run("list_api_keys", "--json"))

    assert [(row["id"], row["name"], row["state"]) for row in rows] == [
        (first, "a", "active"),
        (second, "b", "revoked"),
        (third, "c", "expired"),
    ]
    assert list(rows[0]) == [
        "id", "name", "prefix", "state", "user_path", "models", "expires_at", "created_at", "created_by"
    ]  # fmt: skip


def test_list_api_keys_prints_a_table():
    run("create_api_key", "shop", "--models", "gpt-5")
    row = ClientKey.objects.get()
    head, line = run("list_api_keys").splitlines()

    assert head.split("  ")[0] == "ID"
    assert line.split()[:6] == [str(row.pk), "shop", f"{row.prefix}…", "active", "-", "gpt-5"]


@pytest.mark.parametrize(("flags", "command"), [([], "create_api_key"), (["--admin"], "create_admin_token")])
def test_list_api_keys_says_how_to_begin(flags, command):
    assert run("list_api_keys", *flags) == f"There are none yet. Create one:  manage.py {command} NAME\n"


def test_revoke_api_key_refuses_the_key_from_now_on():
    number = json.loads(run("create_api_key", "shop", "--json"))["id"]

    assert run("revoke_api_key", str(number)) == (
        f'Revoked the client key "shop" (id {number}): it is refused from now on.\n'
    )
    assert ClientKey.objects.get().enabled is False


def test_revoke_api_key_revokes_admin_tokens_too():
    number = json.loads(run("create_admin_token", "ci", "--json"))["id"]
    printed = run("revoke_api_key", "--admin", str(number))

    assert printed == f'Revoked the admin token "ci" (id {number}): it is refused from now on.\n'
    assert json.loads(run("list_api_keys", "--admin", "--json"))[0]["state"] == "revoked"


def test_revoke_api_key_names_what_is_not_there():
    assert refused("revoke_api_key", "99") == (
        "There is no client key 99. To see what there is:  manage.py list_api_keys"
    )
