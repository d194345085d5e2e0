"""The breaker between the gateway and its shared cache: a failing cache is left alone for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from redis.exceptions import RedisError

T = TypeVar("T")
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0
_FAILURES: Final = (RedisError, OSError, TimeoutError, ValueError)

logger = logging.getLogger("sluice.state")


class StoreUnavailableError(Exception):
    """The shared cache failed just now or a moment ago; go on without it."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How the shared cache does, for readiness and metrics. Instants are Unix seconds."""

    shared: bool
    available: bool
    operations: int
    failures: int
    local_decisions: int
    failing_since: float | None
    last_error: str


class StoreGuard:
    """Counts failures and answers for the cache while it is left alone.

    After a failure nothing is asked for half a second, doubling up to five; then one operation tries.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._retry_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self.operations = 0
        self.failures = 0
        self.failing_since: float | None = None
        self.last_error = ""

    @property
    def available(self) -> bool:
        """Whether the last operation succeeded."""
        return self.failing_since is None

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation's result; ``StoreUnavailableError`` when it fails or is not worth trying."""
        if self.failing_since is not None:
            now = self._clock()
            if now < self._retry_at:
                raise StoreUnavailableError(self.last_error)
            self._retry_at = now + self._pause_s  # the others wait for this one's result
        self.operations += 1
        try:
            result = await operation()
        except _FAILURES as error:
            self._failed(error)
            raise StoreUnavailableError(self.last_error) from error
        if self.failing_since is not None:
            self._recovered()
        return result

    def _failed(self, error: Exception) -> None:
        now = self._clock()
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"
        if self.failing_since is None:
            self.failing_since = now
            self._pause_s = FIRST_PAUSE_S
            logger.warning("The shared cache failed, going on with local state: %s", self.last_error)
        else:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self._retry_at = now + self._pause_s

    def _recovered(self) -> None:
        since = self._clock() - (self.failing_since or 0.0)
        self.failing_since = None
        self._pause_s = FIRST_PAUSE_S
        logger.info("The shared cache is back after %.1f s.", since)
