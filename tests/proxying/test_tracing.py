"""Spans say what the record says, hang below the client's own, and hold no prompt."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from proxying.records import Recorder
from proxying.tracing import Tracing
from tests.proxying.gateway import serving, table, until

pytestmark = pytest.mark.anyio
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider)


async def traced(upstreams, tracing, spans, count, **request):
    async with serving(table(upstreams)) as gateway:
        recorder = gateway.runtime.recorder
        recorder._tracing = tracing
        await gateway.chat(**request)
        await until(lambda: len(spans.get_finished_spans()) == count)
    return {span.name: span for span in spans.get_finished_spans()}


async def test_request_and_attempts_are_spans_below_the_clients(upstream, tracing, spans) -> None:
    upstreams = {"a": await upstream(status=503, body=b"{}"), "b": await upstream()}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "r1"}

    found = await traced(upstreams, tracing, spans, 3, headers=headers)

    request = found["chat pool"]
    failed, served = found["attempt a/m"], found["attempt b/m"]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert {failed.parent.span_id, served.parent.span_id} == {request.context.span_id}
    assert [span.status.status_code for span in (request, failed, served)] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert failed.attributes["http.response.status_code"] == 503
    wanted = {
        "sluice.request_id": "r1",
        "sluice.provider": "b",
        "sluice.attempts": 2,
        "sluice.failover": True,
        "gen_ai.response.model": "m",
    }
    assert {name: request.attributes[name] for name in wanted} == wanted
    assert request.start_time <= failed.start_time <= failed.end_time <= served.end_time <= request.end_time


async def test_spans_hold_no_prompt(upstream, tracing, spans) -> None:
    prompt = [{"role": "user", "content": "a secret thought"}]

    found = await traced({"a": await upstream()}, tracing, spans, 2, messages=prompt)

    assert all("secret thought" not in span.to_json() for span in found.values())


async def test_closing_the_recorder_sends_what_is_left(tracing) -> None:
    closed = []
    tracing.close = lambda: closed.append(True)
    recorder = Recorder(write=lambda _: 0, tracing=tracing)
    await recorder.open()
    await recorder.close()
    await until(lambda: closed == [True])
