"""The attempt loop: a decision, the adapters and the upstream client; nothing else knows all three.

Whole and streamed answers share it. Until the first content is in hand the next candidate may take over;
from then on an upstream failure ends the stream with an error event.
"""

from __future__ import annotations

import asyncio
from typing import Final

from proxying.adapters import adapter_for
from proxying.adapters.base import ClientBody, Form, Target, UpstreamRequest
from proxying.adapters.openai_media import MEDIA_PATHS
from proxying.attempt import Call, Upstreams, failure_of
from proxying.errors import (
    GatewayError,
    InvalidRequestError,
    NoCandidateError,
    ProviderBusyError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from proxying.http import Answer
from proxying.media import MediaCall
from proxying.outcome import Exchange
from proxying.pretending import pretend
from routing import policies, signing
from routing.kinds import KINDS
from routing.types import Affinity, Candidate, Endpoint, Provider, Refusal, RouteRequest

_COUNT_TOKENS: Final = Endpoint.COUNT_TOKENS


async def forward(exchange: Exchange, body: ClientBody, route: RouteRequest, up: Upstreams) -> Answer:
    """Decide once, then try the decision's candidates in their order; the answer of the first that serves.

    Raises:
        NoCandidateError: routing refused, or nobody could be tried.
        ProviderBusyError: every provider is at its in-flight limit.
        UpstreamError: the last attempt's error.
        InvalidRequestError: no candidate's wire format can express the request.
    """
    # Counting tokens takes no turn of the answers: no ticket, no pin.
    decide = up.resolver.peek if route.endpoint is _COUNT_TOKENS else up.resolver.resolve
    decision = await decide(route)
    exchange.decision, exchange.affinity = decision, decision.affinity
    if decision.refusal is not None:
        raise NoCandidateError(decision.refusal)
    up.budget.call()
    return await _Loop(exchange, body, up).run(decision.order)


class _Loop:
    """The attempts of one exchange."""

    __slots__ = ("allowed", "body", "busy", "deadline", "exchange", "is_spent", "last", "policy", "up")

    def __init__(self, exchange: Exchange, body: ClientBody, up: Upstreams) -> None:
        assert exchange.decision is not None  # noqa: S101 - forward() has just set it
        self.exchange = exchange
        self.body = body
        self.up = up
        self.policy = exchange.decision.policy.failover
        # What one provider keeps no other can go on from: its own error is the answer.
        self.allowed = 1 if body.goes_on_from_stored else policies.attempts_allowed(self.policy)
        self.deadline: float | None = None
        self.last: GatewayError | None = None
        self.busy = False
        self.is_spent = False

    async def run(self, order: tuple[Candidate, ...]) -> Answer:
        """T7, T32: each candidate at most once; every attempt's error is asked about anew."""
        for position, candidate in enumerate(order):
            if not self._may_go_on():
                break
            provider = self._provider_of(candidate, first=position == 0)
            if provider is None:
                continue
            try:
                answer = await self._try(candidate, provider)
            except InvalidRequestError as error:
                # Nothing was sent. Another wire format may be able to say it, unless failover is off.
                self.last = self.last or error
                if not self.policy.enabled:
                    break
            except UpstreamError as error:
                self.last = error
                if not policies.should_fail_over(failure_of(error), self.policy):
                    break
            else:
                if answer is not None:
                    return answer
        raise self._exhausted()

    def _may_go_on(self) -> bool:
        made = len(self.exchange.attempts)
        if made == 0:
            return True
        if self.body.form is not None and not self.body.form.can_be_sent:
            self.is_spent = True
            return False
        in_time = self.deadline is None or asyncio.get_running_loop().time() < self.deadline
        return made < self.allowed and in_time and self.up.budget.allows_retry()

    def _provider_of(self, candidate: Candidate, *, first: bool) -> Provider | None:
        """The provider as it is now; None when the candidate has become ineligible since the decision."""
        decision = self.exchange.decision
        if not first and decision and not self.up.resolver.still_selectable(decision, candidate):
            return None
        return self.up.table().providers.get(candidate.provider)

    async def _try(self, candidate: Candidate, provider: Provider) -> Answer | None:
        """One attempt; None when the candidate could not be called: its trial is another's, or it is full."""
        if self.exchange.pretended:
            pretend(self.exchange, candidate, provider)
        adapter = adapter_for(provider, self.body.endpoint)
        target = Target(provider, candidate.model)
        request = adapter.build_request(self.body, target, self.exchange.headers)
        if KINDS[provider.kind].signs_for:
            signing.sign(provider, request.method, request.url, request.headers, request.body)
        health = self.up.health
        if not await health.claim_trial(candidate.provider, candidate.model):
            return None
        if not health.enter(candidate.provider, provider.max_in_flight):
            health.release_trial(candidate.provider, candidate.model)
            self.busy = True
            return None
        make = MediaCall if self.body.endpoint in MEDIA_PATHS else Call
        call = make(self.exchange, candidate, provider, adapter, self.up)
        try:
            return await self._answer(call, request, target)
        except BaseException as error:
            # CancelledError is the client's leaving (T33): it ends the loop as it ends the call.
            call.ended(error)
            raise

    async def _answer(self, call: Call, request: UpstreamRequest, target: Target) -> Answer:
        # The client keeps the time: a scope of its own for each would cost as much as routing.
        if self.deadline is None:
            now = asyncio.get_running_loop().time()
            self.deadline = policies.deadline_at(now, call.provider.timeouts)
        if self.body.form is not None:
            answer = await self._answer_to_form(self.body.form, call, request)
        elif self.body.wants_stream:
            answer = await call.stream(request, self.body, target, self.deadline)
        else:
            answer = await call.whole(request, self.body, self.deadline)
        await self._served(call.candidate)
        return answer

    async def _answer_to_form(self, form: Form, call: Call, request: UpstreamRequest) -> Answer:
        """A form is sent on while it comes: what is late may be the client's."""
        assert self.deadline is not None  # noqa: S101 - the only caller has just set it
        try:
            async with asyncio.timeout_at(self.deadline):
                answer = await call.whole(request, self.body, self.deadline)
        except TimeoutError as error:
            raise form.late() or UpstreamTimeoutError("The provider did not answer in time.") from error
        form.let_go()
        return answer

    async def _served(self, candidate: Candidate) -> None:
        """T34: the pin goes to the candidate that served, when it is not there already.

        A whole answer waits for it: the session's next request may come to another worker as soon as the
        client has the answer. A stream's client is busy reading.
        """
        exchange, decision = self.exchange, self.exchange.decision
        exchange.served = candidate
        if decision is None or decision.pin_key is None or self.body.endpoint is _COUNT_TOKENS:
            return
        if decision.affinity is Affinity.HIT:
            if candidate is decision.order[0]:
                return
            exchange.affinity = Affinity.REPIN
        ttl_s = decision.policy.session_affinity_ttl_s
        write = self.up.state.write_pin(decision.pin_key, candidate.selector, ttl_s)
        if self.body.wants_stream:
            self.up.spawn(write)
        else:
            await write

    def _exhausted(self) -> GatewayError:
        made = len(self.exchange.attempts)
        if (
            isinstance(self.last, UpstreamError)
            and made > 1
            and not isinstance(self.last, UpstreamStatusError)
        ):
            self.last.message += f" ({made} attempts were made.)"
        if self.is_spent and isinstance(self.last, UpstreamError):
            self.last.message += " (There is no copy of the upload to send to another provider.)"
        if self.last is not None:
            return self.last
        name = self.exchange.requested_model
        if self.busy:
            return ProviderBusyError(
                f"Every provider of the model {name!r} is at its limit of requests in flight."
            )
        message = f"No candidate of the model {name!r} can be used now."
        return NoCandidateError(
            Refusal(503, "overloaded_error", "no_eligible_candidates", message, retry_after_s=1.0)
        )
