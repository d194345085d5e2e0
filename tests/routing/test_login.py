"""Guessed passwords: who has to wait, who has not, and who never comes this way."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from routing import keys
from tests import factories

pytestmark = pytest.mark.django_db
HERE, ELSEWHERE = "198.51.100.1", "203.0.113.7"
TRIES = 10


@pytest.fixture(autouse=True)
def ada():
    return User.objects.create_superuser("ada", password="right")


def log_in(password, address=HERE, name="ada", **headers):
    data = {"username": name, "password": password, "next": "/admin/"}
    return Client().post("/admin/login/", data, headers=headers, REMOTE_ADDR=address)


def guess(times, **how):
    return [log_in("wrong", **how).status_code for _ in range(times)]


def test_the_right_password_logs_in_and_forgives_failures():
    for _ in range(3):
        assert guess(TRIES - 1) == [200] * (TRIES - 1)
        assert log_in("right").status_code == 302


def test_too_many_failures_have_to_wait_and_are_told_how_long():
    assert guess(TRIES) == [200] * (TRIES - 1) + [429]

    refused = log_in("right")

    assert (refused.status_code, refused["Retry-After"]) == (429, "900")
    assert "takes none from there for 15\n  minutes" in refused.content.decode()


def test_an_operator_is_not_locked_out_from_elsewhere():
    guess(TRIES, address=ELSEWHERE)

    assert log_in("right", ELSEWHERE).status_code == 429
    assert log_in("right", HERE).status_code == 302


def test_others_at_the_same_address_log_in():
    User.objects.create_superuser("ben", password="right")
    guess(TRIES)

    assert log_in("right", name="ben").status_code == 302


def test_the_pause_ends_also_for_those_who_keep_trying(time_machine):
    time_machine.move_to("2026-11-25T12:00:00Z", tick=False)
    guess(TRIES)
    time_machine.move_to("2026-11-25T12:14:50Z", tick=False)
    assert guess(3) == [429] * 3
    time_machine.move_to("2026-11-25T12:15:10Z", tick=False)
    assert log_in("right").status_code == 302


def test_clients_behind_a_believed_proxy_are_told_apart():
    """The proxy connects from 127.0.0.1, which is believed unless settings say otherwise."""
    proxy = {"address": "127.0.0.1"}
    invented = [log_in("wrong", **proxy, x_forwarded_for=f"1.1.1.{n}, {ELSEWHERE}") for n in range(TRIES)]

    assert invented[-1].status_code == 429
    assert log_in("right", **proxy, x_forwarded_for=HERE).status_code == 302


def test_an_address_that_a_stranger_invents_is_not_believed():
    invented = [log_in("wrong", x_forwarded_for=f"1.1.1.{n}") for n in range(TRIES)]

    assert invented[-1].status_code == 429


def test_a_shell_ends_the_pause():
    guess(TRIES)

    call_command("axes_reset_username", "ada")

    assert log_in("right").status_code == 302


def test_what_was_typed_as_a_name_stays_out_of_the_log(caplog):
    guess(TRIES, name="hunter2")

    said = caplog.text
    assert "hunter2" not in said
    assert HERE in said


def test_tokens_are_not_counted_and_not_slowed(client, django_assert_num_queries):
    secret = keys.make_admin_token().secret
    factories.AdminTokenFactory(secret=secret)
    headers = {"Accept": "application/json"}
    guess(TRIES)

    wrong = [
        client.get("/admin/routing-state", headers={**headers, "Authorization": f"Bearer bad{n}"})
        for n in range(TRIES + 1)
    ]
    with django_assert_num_queries(5):
        right = client.get(
            "/admin/routing-state", headers={**headers, "Authorization": f"Bearer {secret}"}, REMOTE_ADDR=HERE
        )

    assert {answer.status_code for answer in wrong} == {401}
    assert right.status_code == 200
