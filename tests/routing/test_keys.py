from __future__ import annotations

import hashlib

from routing import keys


def test_client_key_has_its_prefix_and_256_random_bits():
    made = keys.make_client_key()

    assert made.secret.startswith("sk-sluice-")
    assert len(made.secret) == len("sk-sluice-") + 43
    assert made.prefix == made.secret[:16]
    assert made.digest == hashlib.sha256(made.secret.encode()).hexdigest()


def test_admin_token_has_its_own_prefix():
    made = keys.make_admin_token()

    assert made.secret.startswith("sluice-admin-")
    assert bytes.fromhex(made.digest) == keys.key_digest(made.secret)


def test_two_keys_differ():
    assert keys.make_client_key().secret != keys.make_client_key().secret


def test_new_key_does_not_show_its_secret():
    made = keys.make_client_key()

    assert made.secret not in repr(made)


def test_key_digest_accepts_any_text_a_header_may_hold():
    assert len(keys.key_digest("sk-\udcff-ü")) == 32
