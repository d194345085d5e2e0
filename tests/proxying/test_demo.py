"""The demo's fake vendors: what they answer, and how each can be broken."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from proxying import demo, demo_server
from proxying.demo import Mood, Reply, Vendors, reply

pytestmark = pytest.mark.anyio

CHAT = {"model": "nova-large", "messages": [{"role": "user", "content": "Good morning"}]}
TEXT = "This is demo-primary, answering as nova-large. You said: Good morning"


def post(path: str, body: Any, vendors: Vendors | None = None) -> Reply:
    return reply(vendors or Vendors(), "POST", path, json.dumps(body).encode())


def parsed(answer: Reply) -> Any:
    return json.loads(b"".join(answer.pieces))


def events(answer: Reply) -> list[Any]:
    lines = b"".join(answer.pieces).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_chat_says_who_answers() -> None:
    answer = parsed(post("/demo-primary/v1/chat/completions", CHAT))
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    ]
    assert answer["model"] == "nova-large"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 10, "total_tokens": 12}


def test_stream_carries_the_same_text_and_usage_when_asked() -> None:
    body = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = events(post("/demo-primary/v1/chat/completions", body))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    assert deltas[0]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 10 + ["stop"]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 10


def test_stream_has_no_usage_unless_asked() -> None:
    chunks = events(post("/demo-primary/v1/chat/completions", CHAT | {"stream": True}))
    assert [chunk for chunk in chunks if not chunk["choices"] or "usage" in chunk] == []


def test_completions_answer_text() -> None:
    answer = parsed(post("/demo-economy/v1/completions", {"model": "nova-small", "prompt": "Hi"}))
    assert answer["choices"][0]["text"] == "This is demo-economy, answering as nova-small. You said: Hi"


def test_embeddings_answer_one_vector_per_input() -> None:
    answer = parsed(post("/demo-primary/v1/embeddings", {"model": "nova-embed", "input": ["a", "b", "a"]}))
    vectors = [row["embedding"] for row in answer["data"]]
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert len(vectors[0]) == demo.EMBEDDING_DIMENSIONS


def test_models_are_those_of_the_vendor() -> None:
    answer = parsed(reply(Vendors(), "GET", "/demo-backup/v1/models", b""))
    assert [row["id"] for row in answer["data"]] == ["nova-large-2026-05", "nova-small"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/demo-backup/v1/chat/completions", CHAT, 404, "model_not_found"),
        ("/nobody/v1/chat/completions", CHAT, 404, None),
        ("/demo-primary/v1/audio/speech", CHAT, 404, None),
    ],
)
def test_what_a_vendor_lacks_is_an_error(path: str, body: Any, status: int, code: str | None) -> None:
    answer = post(path, body)
    assert (answer.status, parsed(answer)["error"]["code"]) == (status, code)


def test_order_changes_one_vendor_only() -> None:
    vendors = Vendors()
    answer = post("/__demo", {"provider": "demo-primary", "mode": "fail", "status": 429}, vendors)
    assert answer.status == 200
    assert vendors.moods == {
        "demo-primary": Mood("fail", 429),
        "demo-backup": Mood(),
        "demo-economy": Mood(),
    }
    failed = post("/demo-primary/v1/chat/completions", CHAT, vendors)
    assert (failed.status, failed.headers) == (429, (("retry-after", "5"),))
    assert reply(vendors, "GET", "/demo-primary/v1/models", b"").status == 429
    assert reply(vendors, "GET", "/demo-backup/v1/models", b"").status == 200


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([], "Send a JSON object."),
        ({"provider": "x"}, "provider must be one of demo-primary, demo-backup, demo-economy."),
        ({"provider": ["x"]}, "provider must be one of demo-primary, demo-backup, demo-economy."),
        ({"provider": "demo-backup", "mode": "odd"}, "mode must be one of ok, fail, slow, cut."),
        ({"provider": "demo-backup", "status": 200}, "status must be between 400 and 599."),
        ({"provider": "demo-backup", "status": True}, "status must be between 400 and 599."),
        ({"provider": "demo-backup", "delay_s": -1}, "delay_s must be between 0 and 600."),
    ],
)
def test_order_that_makes_no_sense_changes_nothing(order: Any, message: str) -> None:
    vendors = Vendors()
    answer = post("/__demo", order, vendors)
    assert (answer.status, parsed(answer)["error"]["message"]) == (400, message)
    assert vendors == Vendors()


@pytest.fixture
async def base_url() -> Any:
    server = await demo_server.start(0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.fixture
async def http_client(base_url: str) -> Any:
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        yield client


async def break_primary(client: httpx.AsyncClient, **order: Any) -> None:
    answer = await client.post("/__demo", json={"provider": "demo-primary", **order})
    assert answer.json()["demo-primary"]["mode"] == order["mode"]


async def test_server_answers_over_a_kept_connection(http_client: httpx.AsyncClient) -> None:
    for _ in range(2):
        answer = await http_client.post("/demo-primary/v1/chat/completions", json=CHAT)
        assert answer.json()["choices"][0]["message"]["content"] == TEXT


async def test_server_streams(http_client: httpx.AsyncClient) -> None:
    answer = await http_client.post("/demo-primary/v1/chat/completions", json=CHAT | {"stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
async def test_server_breaks_off_when_cut(http_client: httpx.AsyncClient, stream: bool) -> None:
    await break_primary(http_client, mode="cut")
    with pytest.raises(httpx.RemoteProtocolError, match="closed connection"):
        await http_client.post("/demo-primary/v1/chat/completions", json=CHAT | {"stream": stream})


async def test_server_is_slow_when_told(http_client: httpx.AsyncClient) -> None:
    await break_primary(http_client, mode="slow", delay_s=0.1)
    answer = await http_client.post("/demo-primary/v1/chat/completions", json=CHAT)
    assert answer.elapsed.total_seconds() >= 0.1


async def test_server_refuses_what_is_not_http(base_url: str) -> None:
    import anyio

    async with await anyio.connect_tcp("127.0.0.1", int(base_url.rpartition(":")[2])) as stream:
        await stream.send(b"hello\r\n\r\n")
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
