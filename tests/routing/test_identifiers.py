from __future__ import annotations

import os

from routing.identifiers import new_id


def test_new_ids_are_32_hexadecimal_digits_and_differ():
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert {len(one) for one in ids} == {32}
    assert set("".join(ids)) <= set("0123456789abcdef")


def test_new_ids_differ_between_a_process_and_its_fork():
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writable, new_id().encode())
        os._exit(0)
    mine = new_id()
    os.waitpid(child, 0)

    assert os.read(readable, 32).decode() != mine
