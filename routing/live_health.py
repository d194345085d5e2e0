"""What live outcomes say of providers, in this process and in all of them.

Outcomes are counted per process without waiting for anything; what changes the state of a circuit is told
to the other workers by a background task, which also brings their news.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

from routing import health
from routing.health import CLOSED, Phase, Rules
from routing.health_exchange import HealthExchange, News
from routing.health_log import log_transition
from routing.store_guard import StoreUnavailableError
from routing.transitions import DiscoveryWatch, Key, Transition, describe, standing
from routing.types import Circuit, HealthView, RoutingTable

_REMEMBERED_TRANSITIONS: Final = 500
_SUCCESS_GRAIN_S: Final = 5.0  # how often a success of a provider whose discovery fails is worth a new view
_LOST_RACE_S: Final = 1.0  # until the news of the one who won arrives
_BREATH_S: Final = 0.01  # between two rounds, so that a burst of failures makes a few notes, not many
_NEWS_S: Final = 1.0  # a 429 that prolongs a cooldown by less says nothing new

logger = logging.getLogger("sluice.health")


class LiveHealth:
    """The live health of every (provider, model) and credential that the table knows.

    All methods but the four async ones are plain memory operations for the event loop's thread.
    ``on_transition`` callbacks must be as quick.
    """

    def __init__(
        self,
        table: Callable[[], RoutingTable],
        exchange: HealthExchange,
        *,
        rules: Rules = health.RULES,
        interval_s: float = 0.25,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._exchange = exchange
        self._rules = rules
        self._interval_s = interval_s
        self._clock = clock
        self._circuits: dict[Key, Circuit] = {}
        self._in_flight: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._busy: set[str] = set()
        self._cuts: dict[Key, int] = {}
        self._succeeded_at: dict[str, float] = {}
        self._shown_success: dict[str, float] = {}
        self._outbox: dict[Key, None] = {}
        self._held: set[Key] = set()
        self._give_back: set[Key] = set()
        self._view = HealthView()
        self._changed = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._known: frozenset[Key] = frozenset()
        self._known_of: RoutingTable | None = None
        self._discovery = DiscoveryWatch()
        self.transitions: deque[Transition] = deque(maxlen=_REMEMBERED_TRANSITIONS)
        self.on_transition: list[Callable[[Transition], None]] = []

    # What is known.

    def view(self) -> HealthView:
        """The health as one value: the same object until something changes."""
        if self._changed:
            self._changed = False
            shown = {key: one for key, one in self._circuits.items() if one.openings or one.cooldown_until}
            self._view = HealthView(
                version=self._view.version + 1,
                circuits=MappingProxyType(
                    {(name, model): one for (name, model), one in shown.items() if model is not None}
                ),
                credentials=MappingProxyType(
                    {name: one for (name, model), one in shown.items() if model is None}
                ),
                busy=frozenset(self._busy),
                last_success_at=MappingProxyType(dict(self._shown_success)),
            )
        return self._view

    def in_flight(self) -> dict[str, int]:
        """Calls under way per provider, in this process."""
        return dict(self._in_flight)

    def size(self) -> int:
        """Circuits that are remembered: at most one per provider and per model of the table."""
        return len(self._circuits)

    def served_since(self, provider: str, at: float) -> bool:
        """Whether a live call of the provider is known to have succeeded since ``at``."""
        served_at = max(self._succeeded_at.get(provider, 0.0), self._shown_success.get(provider, 0.0))
        return served_at >= at > 0.0

    # Outcomes.

    def success(self, provider: str, model: str) -> None:
        """An upstream call gave content: its circuits close."""
        now = self._clock()
        self._note_success(provider, now)
        for key in ((provider, model), (provider, None)):
            circuit = self._circuits.get(key)
            if circuit is not None:
                self._store(key, health.after_success(circuit, now))
                self._drop_lease(key)

    def completed(self, provider: str, model: str) -> None:
        """An answer came to its end: what was cut before it is no longer in a row."""
        if self._cuts:
            self._cuts.pop((provider, model), None)

    def failure(self, provider: str, model: str, cause: str, *, after_content: bool = False) -> None:
        """An upstream call failed by the provider's fault (5xx or transport).

        ``after_content``: a stream that had been counted as a success broke. Such cuts are counted by
        themselves, as each stream's first content forgets the failures before it: as many in a row as
        failures open a circuit, without an answer that came to its end, open it too.
        """
        key, rules = (provider, model), self._rules
        if after_content and self._is_known(key):
            self._cuts[key] = self._cuts.get(key, 0) + 1
            if self._cuts[key] >= rules.failures:
                rules = replace(rules, failures=1)
        circuit = health.after_failure(self._circuit(key), self._clock(), rules=rules, cause=cause)
        self._store(key, circuit)
        self._drop_lease(key)
        self.release_trial(provider, None)

    def rate_limited(self, provider: str, model: str, retry_after_s: float | None) -> None:
        """The provider answered 429: the candidate cools down."""
        key = (provider, model)
        now = self._clock()
        old = self._circuit(key)
        new = health.after_rate_limit(old, now, retry_after_s, rules=self._rules)
        if _says_something_new(old, new, now):
            self._store(key, new)
        self._drop_lease(key)
        self.release_trial(provider, None)

    def credential_refused(self, provider: str, cause: str) -> None:
        """The provider refused the gateway's credential: nothing of it is called for a while."""
        key = (provider, None)
        now = self._clock()
        circuit = health.after_credential_refusal(self._circuit(key), now, rules=self._rules, cause=cause)
        self._store(key, circuit)
        self._drop_lease(key)
        for held in [one for one in self._held if one[0] == provider]:
            self.release_trial(provider, held[1])

    def credential_accepted(self, provider: str) -> None:
        """A probe with the credential succeeded: its circuit closes."""
        circuit = self._circuits.get((provider, None))
        if circuit is not None:
            self._store((provider, None), health.after_success(circuit, self._clock()))
            self._drop_lease((provider, None))

    # Trials.

    async def claim_trial(self, provider: str, model: str) -> bool:
        """Whether this call may go out: True unless a half-open circuit's one trial went to somebody else.

        Costs nothing while the circuits of the provider and the model are not half-open.
        """
        claimed: list[Key] = []
        won = False
        try:
            for key in ((provider, None), (provider, model)):
                circuit = self._circuits.get(key)
                if circuit is None or health.phase(circuit, self._clock()) is not Phase.HALF_OPEN:
                    continue
                if not await self._claim(key, circuit):
                    return False
                claimed.append(key)
            won = True
        finally:  # the client may leave while the cache is asked
            for one in () if won else claimed:
                self.release_trial(*one)
        return won

    async def _claim(self, key: Key, circuit: Circuit) -> bool:
        now = self._clock()
        # Taken here first: no other task of this process may try while the cache is asked.
        mine = health.claim_trial(circuit, now, rules=self._rules)
        self._store(key, mine, tell=False)
        claim = asyncio.ensure_future(self._exchange.claim(_name(key), self._rules.trial_lease_s))
        try:
            won = await asyncio.shield(claim)
        except StoreUnavailableError:
            won = True  # on our own: one trial per worker
        except asyncio.CancelledError:
            # The client left, nobody will try: the trial is free again, and so is the lease if it comes.
            claim.add_done_callback(partial(self._claimed_for_nobody, key))
            if self._circuits.get(key) is mine:
                self._circuits[key] = circuit
                self._changed = True
            raise
        if won:
            self._held.add(key)
            self._tell(key)
        elif self._circuits.get(key) is mine:
            self._circuits[key] = replace(mine, trial_until=now + _LOST_RACE_S)
            self._changed = True
        return won

    def _claimed_for_nobody(self, key: Key, claim: asyncio.Future[bool]) -> None:
        if not claim.cancelled() and claim.exception() is None and claim.result():
            self._give_back.add(key)
            self._wake.set()

    def release_trial(self, provider: str, model: str | None) -> None:
        """Give the trial back without a verdict (a neutral answer, a client that left), if it is ours."""
        for key in {(provider, model), (provider, None)}:
            if key in self._held:
                self._store(key, health.release_trial(self._circuit(key)))
                self._drop_lease(key)

    def _drop_lease(self, key: Key) -> None:
        if key in self._held:
            self._held.discard(key)
            self._give_back.add(key)
            self._wake.set()

    # Calls under way.

    def enter(self, provider: str, limit: int | None) -> bool:
        """Count a call in; False when the provider is at its limit (in this process)."""
        count = self._in_flight.get(provider, 0)
        if limit is not None and count >= limit:
            return False
        self._in_flight[provider] = count + 1
        if limit is not None:
            self._limits[provider] = limit
            if count + 1 >= limit and provider not in self._busy:
                self._busy.add(provider)
                self._changed = True
        return True

    def leave(self, provider: str) -> None:
        """Count a call out that ``enter`` let in."""
        count = self._in_flight.get(provider, 1) - 1
        if count > 0:
            self._in_flight[provider] = count
        else:
            self._in_flight.pop(provider, None)
        if provider in self._busy and count < self._limits.get(provider, 0):
            self._busy.discard(provider)
            self._changed = True

    # Changing a circuit.

    def _circuit(self, key: Key) -> Circuit:
        return self._circuits.get(key, CLOSED)

    def _store(self, key: Key, new: Circuit, *, tell: bool = True, remote: bool = False) -> None:
        old = self._circuit(key)
        if new == old or not self._is_known(key):
            return
        self._circuits[key] = new
        if standing(new) == standing(old):
            return  # one more failure that changes nothing yet
        self._changed = True
        self._record(key, old, new, remote=remote)
        if tell:
            self._tell(key)

    def _tell(self, key: Key) -> None:
        self._outbox[key] = None
        self._wake.set()

    def _record(self, key: Key, old: Circuit, new: Circuit, *, remote: bool) -> None:
        what, until = describe(key, old, new)
        at = self._clock()
        self._announce(Transition(at, key[0], key[1], what, new.cause or old.cause, until, remote))

    def _announce(self, transition: Transition) -> None:
        self.transitions.append(transition)
        if not transition.remote:
            log_transition(transition)
        for callback in self.on_transition:
            callback(transition)

    def _note_success(self, provider: str, now: float) -> None:
        self._succeeded_at[provider] = now
        configured = self._table().providers.get(provider)
        if configured is None or configured.discovery.failures == 0:
            return
        if now - self._shown_success.get(provider, 0.0) >= _SUCCESS_GRAIN_S:
            self._shown_success[provider] = now
            self._changed = True
            self._tell((provider, None))

    def _is_known(self, key: Key) -> bool:
        table = self._table()
        if table is not self._known_of:
            self._known_of = table
            self._known = _keys_of(table)
        return key in self._known

    # The other workers.

    async def open(self) -> None:
        """Start telling and asking."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop, after a last attempt to tell what is not told yet and to give leases back."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for key in list(self._held):
            self.release_trial(*key)
        await self.sync()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.sync()
            except Exception:  # without this task health is shared no more, and nobody would notice
                logger.exception("Sharing health failed.")
            await asyncio.sleep(_BREATH_S)

    async def sync(self) -> None:
        """Tell the others what changed here, hear what changed there, forget what is over."""
        self._forget()
        for transition in self._discovery.changes(self._table(), self.view(), self._clock()):
            self._announce(transition)
        try:
            await self._tell_all()
            for item in await self._exchange.pull():
                self._hear(item)
            if self._exchange.lost:
                self._exchange.lost = False
                self._outbox.update(dict.fromkeys(self._circuits))
                await self._tell_all()
        except StoreUnavailableError:
            return  # what is untold stays in the outbox

    async def _tell_all(self) -> None:
        for key in list(self._give_back):
            await self._exchange.give_back(_name(key))
            self._give_back.discard(key)
        if not self._outbox:
            return
        untold = list(self._outbox)
        self._outbox.clear()
        try:
            await self._exchange.publish([self._news(key) for key in untold])
        except StoreUnavailableError:
            self._outbox.update(dict.fromkeys(untold))
            raise

    def _news(self, key: Key) -> News:
        circuit = self._circuits.get(key)
        succeeded_at = self._succeeded_at.get(key[0]) if key[1] is None else None
        return News(*key, None if circuit is None else health.shared(circuit), succeeded_at)

    def _hear(self, item: News) -> None:
        key = (item.provider, item.model)
        if item.circuit is not None:
            self._store(key, health.merge(self._circuit(key), item.circuit), tell=False, remote=True)
        if item.succeeded_at is not None and self._is_known((item.provider, None)):
            shown = self._shown_success.get(item.provider, 0.0)
            if item.succeeded_at > shown:
                self._shown_success[item.provider] = item.succeeded_at
                self._changed = True

    def _forget(self) -> None:
        now = self._clock()
        for key, circuit in list(self._circuits.items()):
            if health.is_forgettable(circuit, now, rules=self._rules) or not self._is_known(key):
                del self._circuits[key]
                self._changed = True
        for counted in (self._succeeded_at, self._shown_success):
            for provider in [name for name in counted if not self._is_known((name, None))]:
                del counted[provider]
        for key in [key for key in self._cuts if not self._is_known(key)]:
            del self._cuts[key]


def _keys_of(table: RoutingTable) -> frozenset[Key]:
    keys: set[Key] = {(one.provider, one.model) for pool in table.pools.values() for one in pool.candidates}
    for provider in table.providers.values():
        keys.add((provider.name, None))
        keys.update((provider.name, model) for model in provider.configured_models)
        keys.update((provider.name, model) for model in provider.discovery.models)
    return frozenset(keys)


def _says_something_new(old: Circuit, new: Circuit, now: float) -> bool:
    """Whether a 429 is more than one of a burst, of which the first has said it already."""
    stated_first = new.stated_until > now >= old.stated_until
    released = new.trial_until != old.trial_until
    return stated_first or released or new.cooldown_until - max(old.cooldown_until, now) >= _NEWS_S


def _name(key: Key) -> str:
    return key[0] if key[1] is None else f"{key[0]}/{key[1]}"
