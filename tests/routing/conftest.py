"""What the tests of routing share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, like the gateway."""
    return "asyncio"
