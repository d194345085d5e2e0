"""The official ``openai`` client against the running gateway, blocking and asynchronous."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from tests.e2e.conftest import Pool
from tests.e2e.server import Server
from tests.upstream import Script, chunk_event, stream_pieces

ASKED = [{"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


def data(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def usage_event(model: str = "m") -> bytes:
    """The last chunk of a stream whose usage was asked for."""
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return data({**base, "choices": [], "usage": usage})


def error_body(message: str, code: str | None = None, type_: str = "invalid_request_error") -> bytes:
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}}).encode()


@contextmanager
def sdk(gateway: Server, **options: Any) -> Iterator[openai.OpenAI]:
    options = {"api_key": gateway.key, "max_retries": 0, **options}
    with openai.OpenAI(base_url=f"{gateway.url}/v1", **options) as client:
        yield client


def asdk(gateway: Server, **options: Any) -> openai.AsyncOpenAI:
    options = {"api_key": gateway.key, "max_retries": 0, **options}
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", **options)


# --- what works ---


def test_chat(gateway: Server, pool: Pool) -> None:
    with sdk(gateway) as client:
        got = client.chat.completions.create(model=pool.name, messages=ASKED, temperature=0.5)
    assert got.choices[0].message.content == "one two"
    assert (got.model, got.usage.total_tokens, got.choices[0].finish_reason) == ("m", 5, "stop")
    (sent,) = pool.upstreams[0].requests
    assert sent.json == {"messages": ASKED, "model": "m", "temperature": 0.5}
    assert sent.headers["authorization"] == "Bearer sk-of-the-upstream-0123456789"


@pytest.mark.anyio
async def test_async_chat(gateway: Server, pool: Pool) -> None:
    async with asdk(gateway) as client:
        got = await client.chat.completions.create(model=pool.name, messages=ASKED)
    assert got.choices[0].message.content == "one two"


def test_raw_response_carries_the_routing_headers(gateway: Server, pool: Pool) -> None:
    with sdk(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=pool.name, messages=ASKED, extra_headers={"x-request-id": f"sdk-{pool.name}"}
        )
    assert raw.headers["x-gateway-provider"] == pool.providers[0]
    assert (raw.request_id, raw.parse()._request_id) == (f"sdk-{pool.name}", f"sdk-{pool.name}")


def test_upload_fails_over(gateway: Server, pool: Pool) -> None:
    """T38: the second provider is sent the same, with its own model."""
    first, second, _ = pool.upstreams
    first.default = Script(status=503, body=error_body("Busy", type_="server_error"))
    second.default = Script(body=b'{"text":"Hello."}')
    sound = bytes(range(256)) * 10_000
    with sdk(gateway) as client:
        got = client.audio.transcriptions.create(model=pool.name, file=("a.wav", sound), language="en")
    assert got.text == "Hello."
    assert [sound in one.requests[0].body for one in (first, second)] == [True, True]
    (row,) = gateway.records("canonical_model = ?", pool.name)
    assert (row["endpoint"], row["attempt_count"], row["status"]) == ("audio_transcriptions", 2, 200)


def test_speech_comes_piece_by_piece_and_says_when_it_broke_off(gateway: Server, pool: Pool) -> None:
    sound = {"content-type": "audio/mpeg"}
    pool.upstreams[0].script(
        Script(pieces=[b"ID3", b"\xff\xfb"], headers=sound),
        Script(pieces=[b"ID3", b"\xff\xfb"], headers=sound, cut_after_pieces=1),
    )
    asked = {"model": pool.name, "input": "Hello", "voice": "alloy"}
    with sdk(gateway) as client:
        with client.audio.speech.with_streaming_response.create(**asked) as answer:
            whole = (answer.headers["content-type"], b"".join(answer.iter_bytes()))
        with pytest.raises(openai.APIConnectionError):
            client.audio.speech.create(**asked)
    assert whole == ("audio/mpeg", b"ID3\xff\xfb")
    outcomes = [row["outcome"] for row in gateway.records("canonical_model = ?", pool.name, count=2)]
    assert outcomes == ["ok", "cut"]


def test_stream_without_usage_asked_has_none(gateway: Server, pool: Pool) -> None:
    """The gateway asks the provider for usage; the client that did not ask does not see the chunk."""
    pool.upstreams[0].default = Script(
        pieces=[*stream_pieces(["Hel", "lo"])[:-1], usage_event(), b"data: [DONE]\n\n"]
    )
    with (
        sdk(gateway) as client,
        client.chat.completions.create(model=pool.name, messages=ASKED, stream=True) as stream,
    ):
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert [chunk.usage for chunk in chunks] == [None, None, None]
    assert pool.upstreams[0].requests[0].json["stream_options"] == {"include_usage": True}
    (row,) = gateway.records("canonical_model = ?", pool.name)
    assert (row["prompt_tokens"], row["completion_tokens"], row["streamed"]) == (9, 2, 1)


def test_stream_with_usage_asked_has_it_once(gateway: Server, pool: Pool) -> None:
    pool.upstreams[0].default = Script(
        pieces=[*stream_pieces(["Hel", "lo"])[:-1], usage_event(), b"data: [DONE]\n\n"]
    )
    with (
        sdk(gateway) as client,
        client.chat.completions.create(
            model=pool.name, messages=ASKED, stream=True, stream_options={"include_usage": True}
        ) as stream,
    ):
        chunks = list(stream)
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [11]
    assert chunks[-1].choices == []


@pytest.mark.anyio
async def test_async_stream_arrives_piece_by_piece(gateway: Server, pool: Pool) -> None:
    pool.upstreams[0].default = Script(pieces=stream_pieces(["a", "b", "c"]), piece_delay_s=0.1)
    async with (
        asdk(gateway) as client,
        await client.chat.completions.create(model=pool.name, messages=ASKED, stream=True) as stream,
    ):
        arrived = [(chunk.choices[0].delta.content, time.monotonic()) async for chunk in stream]
    assert [text for text, _ in arrived] == ["a", "b", "c", None]
    assert arrived[2][1] - arrived[0][1] > 0.15


def test_tool_call_whole(gateway: Server, pool: Pool) -> None:
    """T54: an answer without content is an answer."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"place":"Oslo"}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
    pool.upstreams[0].default = Script(body=json.dumps(whole).encode())
    with sdk(gateway) as client:
        got = client.chat.completions.create(model=pool.name, messages=ASKED, tools=[TOOL])
    (made,) = got.choices[0].message.tool_calls
    assert (made.id, made.function.name, made.function.arguments) == ("call_1", "weather", '{"place":"Oslo"}')
    assert pool.upstreams[0].requests[0].json["tools"] == [TOOL]
    assert pool.calls == [1, 0, 0]


def test_tool_call_streamed(gateway: Server, pool: Pool) -> None:
    def delta(value: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": value, "finish_reason": finish}
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return data({**base, "choices": [choice]})

    opening = {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": ""},
    }
    pool.upstreams[0].default = Script(
        pieces=[
            delta({"role": "assistant", "content": None, "tool_calls": [opening]}),
            delta({"tool_calls": [{"index": 0, "function": {"arguments": '{"pla'}}]}),
            delta({"tool_calls": [{"index": 0, "function": {"arguments": 'ce":"Oslo"}'}}]}),
            delta({}, "tool_calls"),
            b"data: [DONE]\n\n",
        ]
    )
    with (
        sdk(gateway) as client,
        client.chat.completions.stream(model=pool.name, messages=ASKED, tools=[TOOL]) as stream,
    ):
        final = stream.get_final_completion()
    (made,) = final.choices[0].message.tool_calls
    assert (made.function.name, made.function.arguments) == ("weather", '{"place":"Oslo"}')
    assert final.choices[0].finish_reason == "tool_calls"


def test_embeddings_in_the_default_encoding(gateway: Server, pool: Pool) -> None:
    """The SDK asks for base64 unless told otherwise, and decodes it itself."""
    vector = [0.5, -0.25, 2.0]
    encoded = base64.b64encode(struct.pack("<3f", *vector)).decode()
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    item = {"object": "embedding", "index": 0, "embedding": encoded}
    whole = {"object": "list", "model": "m", "data": [item], "usage": usage}
    pool.upstreams[0].default = Script(body=json.dumps(whole).encode())
    with sdk(gateway) as client:
        got = client.embeddings.create(model=pool.name, input=["hi"])
    assert (got.data[0].embedding, got.usage.prompt_tokens) == (vector, 2)
    assert pool.upstreams[0].requests[0].json == {
        "input": ["hi"],
        "model": "m",
        "encoding_format": "base64",
    }


def test_embeddings_as_numbers(gateway: Server, pool: Pool) -> None:
    with sdk(gateway) as client:
        got = client.embeddings.create(model=pool.name, input="hi", encoding_format="float")
    assert got.data[0].embedding == [0.5, 0.25]
    assert pool.upstreams[0].requests[0].path == "/v1/embeddings"


def test_completions_whole_and_streamed(gateway: Server, pool: Pool) -> None:
    choice = {"index": 0, "text": "fine", "finish_reason": "stop", "logprobs": None}
    whole = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    pool.upstreams[0].script(
        Script(body=json.dumps(whole).encode()), Script(pieces=[data(whole), b"data: [DONE]\n\n"])
    )
    with sdk(gateway) as client:
        got = client.completions.create(model=pool.name, prompt="How?")
        with client.completions.create(model=pool.name, prompt="How?", stream=True) as stream:
            texts = [chunk.choices[0].text for chunk in stream]
    assert (got.choices[0].text, texts) == ("fine", ["fine"])


def test_models_list_and_retrieve(gateway: Server, pool: Pool) -> None:
    with sdk(gateway) as client:
        ids = [model.id for model in client.models.list()]
        one = client.models.retrieve(pool.name)
        exact = client.models.retrieve(f"{pool.providers[0]}/m")
        with pytest.raises(openai.NotFoundError) as raised:
            client.models.retrieve("nothing-like-it")
    assert ids == sorted(ids)
    assert {pool.name, "short", f"{pool.providers[2]}/m"} - set(ids) == set()
    assert (one.id, one.object, exact.id) == (pool.name, "model", f"{pool.providers[0]}/m")
    assert raised.value.code == "model_not_found"


def test_exact_name_is_called_there_and_nowhere_else(gateway: Server, pool: Pool) -> None:
    """T36."""
    pool.upstreams[1].default = Script(status=503, body=error_body("No.", type_="server_error"))
    with sdk(gateway) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=f"{pool.providers[1]}/m", messages=ASKED)
    assert pool.calls == [0, 1, 0]


# --- what goes wrong ---


def all_answer(gateway: Server, pool: Pool, script: Script) -> None:
    """All three answer so. Successes before keep the worker's retry budget out of it."""
    for _ in range(10):
        gateway.chat("pool-0")
    for upstream in pool.upstreams:
        upstream.default = script


@pytest.mark.parametrize(
    ("script", "error", "code", "calls"),
    [
        (Script(status=400, body=error_body("Bad.", "bad")), openai.BadRequestError, "bad", 1),
        (Script(status=422, body=error_body("Bad.", "bad")), openai.UnprocessableEntityError, "bad", 1),
        (Script(status=403, body=error_body("No.", "region")), openai.PermissionDeniedError, "region", 3),
        (
            Script(status=404, body=error_body("No.", "model_not_found")),
            openai.NotFoundError,
            "model_not_found",
            3,
        ),
        (Script(status=429, body=error_body("Slow.", "rate_limit")), openai.RateLimitError, "rate_limit", 3),
        (Script(status=500, body=error_body("No.", "oops")), openai.InternalServerError, "oops", 3),
        (Script(status=503, body=error_body("No.", "busy")), openai.InternalServerError, "busy", 3),
        (Script(drop=True), openai.InternalServerError, "upstream_unreachable", 3),
        (Script(hang=True), openai.InternalServerError, "upstream_timeout", 3),
    ],
)
def test_error_of_all_providers_has_the_sdks_class(
    gateway: Server, pool: Pool, script: Script, error: type[openai.APIStatusError], code: str, calls: int
) -> None:
    all_answer(gateway, pool, script)
    with sdk(gateway) as client, pytest.raises(error) as raised:
        client.chat.completions.create(model=pool.name, messages=ASKED)
    assert (type(raised.value), raised.value.code) == (error, code)
    assert (sum(pool.calls), raised.value.response.headers["x-gateway-attempts"]) == (calls, str(calls))
    assert raised.value.request_id == raised.value.response.headers["x-request-id"]


@pytest.mark.anyio
async def test_async_error_has_the_sdks_class(gateway: Server, pool: Pool) -> None:
    all_answer(gateway, pool, Script(status=400, body=error_body("Bad.", "bad")))
    async with asdk(gateway) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.chat.completions.create(model=pool.name, messages=ASKED)
    assert raised.value.code == "bad"


def test_refusals_of_the_gateway_have_the_sdks_classes(gateway: Server, pool: Pool) -> None:
    with sdk(gateway) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="nothing-like-it", messages=ASKED)
        with pytest.raises(openai.BadRequestError) as blank:
            client.chat.completions.create(model=" ", messages=ASKED)
        with pytest.raises(openai.AuthenticationError) as stranger:
            client.with_options(api_key="sk-sluice-wrong").models.list()
    assert (unknown.value.code, blank.value.code, stranger.value.code) == (
        "model_not_found",
        "missing_model",
        "invalid_api_key",
    )
    assert stranger.value.response.headers["x-should-retry"] == "false"


def test_key_restricted_to_models_is_denied_others(gateway: Server, pool: Pool) -> None:
    """T15."""
    key = gateway.make_key("narrow", "--models", f"{pool.name}*")["key"]
    with sdk(gateway, api_key=key) as client:
        until_known(client)
        ids = [model.id for model in client.models.list()]
        assert client.chat.completions.create(model=pool.name, messages=ASKED).model == "m"
        with pytest.raises(openai.PermissionDeniedError) as raised:
            client.chat.completions.create(model="pool-0", messages=ASKED)
    assert raised.value.code == "model_not_allowed"
    assert ids == [pool.name]


def until_known(client: openai.OpenAI) -> None:
    """A new key holds within a second."""
    deadline = time.monotonic() + 1
    while True:
        try:
            client.models.list()
        except openai.AuthenticationError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_permanent_refusal_is_called_once(gateway: Server, pool: Pool) -> None:
    """T55: with retries allowed the SDK still makes one call: the answer says that more would not help."""
    body = error_body("Your organisation must be verified.", "unverified")
    all_answer(gateway, pool, Script(status=400, body=body, headers={"retry-after": "30"}))
    began = time.monotonic()
    with sdk(gateway, max_retries=3) as client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=pool.name, messages=ASKED)
    assert pool.calls == [1, 0, 0]
    assert time.monotonic() - began < 1


def test_refused_credential_is_not_retried(gateway: Server, pool: Pool) -> None:
    """T55: a 502 that the SDK would retry by itself, but for ``x-should-retry: false``."""
    all_answer(gateway, pool, Script(status=401, body=error_body("Wrong key.", "invalid_api_key")))
    with sdk(gateway, max_retries=3) as client, pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model=pool.name, messages=ASKED)
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_auth_error")
    assert pool.calls == [1, 1, 1]


def test_transient_failure_is_retried_by_the_sdk(gateway: Server, pool: Pool) -> None:
    """All three fail once: the SDK asks again and gets its answer."""
    all_answer(gateway, pool, Script())
    for upstream in pool.upstreams:
        upstream.script(Script(status=503, body=error_body("No.", type_="server_error")))
    with sdk(gateway, max_retries=2) as client:
        got = client.chat.completions.create(model=pool.name, messages=ASKED)
    assert got.choices[0].message.content == "one two"
    assert pool.calls == [2, 1, 1]


def test_rate_limit_names_the_time(gateway: Server, pool: Pool) -> None:
    body = error_body("Slow down.", "rate_limit_exceeded", "requests")
    all_answer(gateway, pool, Script(status=429, body=body, headers={"retry-after": "7"}))
    with sdk(gateway) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            client.chat.completions.create(model=pool.name, messages=ASKED)
        # All cool down now: nobody is called, and the gateway says when to come again.
        with pytest.raises(openai.InternalServerError) as refused:
            client.chat.completions.create(model=pool.name, messages=ASKED)
    assert limited.value.response.headers["retry-after"] == "7"
    assert (refused.value.status_code, refused.value.code) == (503, "no_eligible_candidates")
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 7
    assert pool.calls == [1, 1, 1]


def test_clients_own_timeout_closes_the_upstream(gateway: Server, pool: Pool) -> None:
    """T33: the SDK gives up; the provider's call is closed and nobody else is called."""
    pool.upstreams[0].default = Script(hang=True)
    with sdk(gateway, timeout=0.15) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=pool.name, messages=ASKED)
    (row,) = gateway.records("canonical_model = ?", pool.name)
    assert (row["outcome"], row["attempt_count"]) == ("client_gone", 1)
    assert pool.upstreams[0].requests[0].gone.is_set()
    assert pool.calls == [1, 0, 0]


def test_error_inside_a_stream_is_raised(gateway: Server, pool: Pool) -> None:
    pool.upstreams[0].default = Script(
        pieces=[chunk_event("one "), data({"error": {"message": "Overloaded", "type": "server_error"}})],
        piece_delay_s=0.1,
    )
    texts = []
    with (
        sdk(gateway) as client,
        client.chat.completions.create(model=pool.name, messages=ASKED, stream=True) as stream,
        pytest.raises(openai.APIError) as raised,
    ):
        texts.extend(chunk.choices[0].delta.content for chunk in stream)
    assert texts == ["one "]
    assert "Overloaded" in raised.value.message


def test_broken_stream_is_raised_and_keeps_what_came(gateway: Server, pool: Pool) -> None:
    """T53: both pieces arrive, then the SDK raises; it never looks like a complete answer."""
    pool.upstreams[0].default = Script(pieces=stream_pieces(["one ", "two"]), cut_after_pieces=2)
    texts: list[str | None] = []
    with (
        sdk(gateway) as client,
        client.chat.completions.create(model=pool.name, messages=ASKED, stream=True) as stream,
        pytest.raises(openai.APIError) as raised,
    ):
        texts.extend(chunk.choices[0].delta.content for chunk in stream)
    assert texts == ["one ", "two"]
    assert raised.value.code == "upstream_protocol_error"


def test_client_that_leaves_a_stream_closes_the_upstream(gateway: Server, pool: Pool) -> None:
    """T33."""
    pool.upstreams[0].default = Script(pieces=stream_pieces(["x"] * 200), piece_delay_s=0.02)
    with sdk(gateway) as client:
        stream = client.chat.completions.create(model=pool.name, messages=ASKED, stream=True)
        next(iter(stream))
        stream.close()
    (row,) = gateway.records("canonical_model = ?", pool.name)
    assert (row["outcome"], row["status"]) == ("client_gone", 200)
    assert pool.upstreams[0].requests[0].gone.is_set()
