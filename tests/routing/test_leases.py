from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection

from routing import leases
from routing.models import Lease
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def test_the_first_taker_holds_the_lease_until_its_end():
    taken = [
        leases.take("t", "one", 10, at(0)),
        leases.take("t", "two", 10, at(9.9)),
        leases.take("t", "two", 10, at(10)),
        leases.take("t", "one", 10, at(10)),
    ]

    assert taken == [True, False, True, False]
    assert list(Lease.objects.values_list("name", "holder", "until_at")) == [("t", "two", at(20))]


def test_the_holder_prolongs_it_in_its_second_half_only():
    leases.take("t", "one", 10, at(0))
    early = leases.take("t", "one", 10, at(4))
    kept = Lease.objects.get().until_at
    late = leases.take("t", "one", 10, at(6))

    assert (early, kept, late, Lease.objects.get().until_at) == (True, at(10), True, at(16))


def test_a_lease_of_one_name_is_not_that_of_another():
    assert [leases.take("t", "one", 10, at(0)), leases.take("u", "two", 10, at(0))] == [True, True]


def test_giving_it_back_lets_the_next_begin_at_once():
    leases.take("t", "one", 10, at(0))

    given = [leases.give_back("t", "two"), leases.give_back("t", "one"), leases.give_back("t", "one")]

    assert (given, leases.take("t", "two", 10, at(0))) == ([False, True, False], True)


def test_a_holder_that_slept_past_its_end_does_not_take_it_from_the_next():
    leases.take("t", "one", 10, at(0))
    leases.take("t", "two", 10, at(11))

    assert leases.take("t", "one", 10, at(12)) is False


def test_holder_names_are_unique_and_fit():
    names = {leases.holder_name() for _ in range(10)}

    assert len(names) == 10
    assert max(len(name) for name in names) <= Lease._meta.get_field("holder").max_length


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("there_already", [False, True])
def test_of_many_takers_at_once_one_wins(there_already):
    if there_already:
        Lease.objects.create(name="t", holder="dead", until_at=at(-1))
    ready, won = threading.Barrier(6), []

    def contend(number):
        try:
            ready.wait(10)
            if leases.take("t", f"holder-{number}", 10, at(0)):
                won.append(f"holder-{number}")
        finally:
            connection.close()

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(won) == 1
    assert Lease.objects.get().holder == won[0]
