"""The gateway's settings with the test run's own database: nothing of a developer's ``.env`` counts.

With ``TEST_DATABASE_URL`` every test runs on that PostgreSQL, in a database of its own; without it on SQLite.
"""

import os

os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "") or "sqlite://:memory:"
os.environ["CACHE_URL"] = ""
os.environ["SECRET_KEY"] = "only-for-the-tests-of-this-checkout-not-a-secret"
for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
    del os.environ[name]

from gateway_project.settings import *  # noqa: E402, F403 - after the environment is in order

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
