"""What the page Try it sends, and what it shows of it."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from proxying.models import RequestRecord
from routing.models import ClientKey, RoutingRevision
from tests import factories
from tests.proxying.gateway import caller, serving, table
from tests.upstream import stream_pieces

URL = "/dashboard/try/send/"
TYPED = {"model": "pool", "prompt": "hi", "stream": "1"}
SCRIPT = {"Accept": "text/event-stream", "HX-Request": "true"}


def as_async(client: Client) -> AsyncClient:
    """The same person, for a loop that serves."""
    other = AsyncClient()
    other.cookies = client.cookies
    return other


async def events(response) -> list[tuple[str, dict]]:
    """What a script reads of the answer."""
    raw = b"".join([piece async for piece in response.streaming_content]).decode()
    read = []
    for block in raw.strip().split("\n\n"):
        name, data = block.split("\n")
        read.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return read


@pytest.mark.django_db
def test_sending_is_for_operators(people, gateway):
    """It costs money. Ada's request reaches the data plane, which is not open here."""
    statuses = {name: client.post(URL, TYPED).status_code for name, client in people.items()}
    assert statuses == {"ada": 503, "ben": 403, "mallory": 403, "stranger": 302}
    assert "it lacks" in people["ben"].post(URL, TYPED).content.decode()
    assert people["stranger"].post(URL, TYPED, headers=SCRIPT).status_code == 401


@pytest.mark.django_db
def test_another_site_cannot_make_an_operator_send(ada, gateway):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ada.cookies
    assert strict.post(URL, TYPED).status_code == 403


@pytest.mark.django_db
def test_reading_the_address_sends_nothing(ada, gateway):
    response = ada.get(URL)
    assert (response.status_code, response["Location"]) == (302, "/dashboard/try/")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"model": ""}, "Name a model first."),
        ({"prompt": " "}, "Write something to send."),
        ({"max_tokens": "0"}, "max_tokens: Ensure this value is greater than or equal to 1."),
    ],
)
def test_what_is_missing_is_said_and_what_was_typed_stays(ada, gateway, typed, said):
    html = ada.post(URL, {**TYPED, "system": "be brief", **typed})
    assert html.status_code == 400
    assert said in html.content.decode()
    assert ">be brief</textarea>" in html.content.decode()
    script = ada.post(URL, {**TYPED, **typed}, headers=SCRIPT)
    assert (script.status_code, script["Content-Type"], script.content.decode()) == (
        400,
        "text/plain; charset=utf-8",
        said,
    )


@pytest.mark.django_db
def test_a_read_only_user_sees_why_it_cannot_be_sent(ben, gateway):
    html = ben.get("/dashboard/try/", {"model": "chat"}).content.decode()
    assert 'id="send" disabled title="Your account may look and not switch' in html


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_the_script_gets_the_answer_as_it_comes_and_then_what_became_of_it(ada, upstream):
    first = await upstream(pieces=stream_pieces(["Hel", "lo"]))
    async with serving(table({"a": first})) as gateway:
        response = await as_async(ada).post(URL, TYPED, headers=SCRIPT)
        assert (response["Content-Type"], response["Cache-Control"]) == ("text/event-stream", "no-store")
        read = await events(response)
        (row,) = await gateway.records()
    assert read[:-1] == [
        ("head", {"status": 200, "served": "a/m"}),
        ("said", {"kind": "text", "text": "Hel"}),
        ("said", {"kind": "text", "text": "lo"}),
    ]
    name, end = read[-1]
    assert name == "end"
    assert "200 from a/m" in end["html"]
    assert f"/dashboard/requests/{row.decision_id}/" in end["html"]
    assert "x-gateway-provider: a" in end["html"]
    assert "$SLUICE_API_KEY" in end["html"]
    user = await User.objects.aget(username="ada")
    assert (row.source, row.caller_id, row.caller_name) == ("try_it", f"operator:{user.pk}", "ada")


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_without_scripts_the_whole_page_comes_back_with_the_answer(ada, upstream):
    first, second = await upstream(), await upstream(pieces=stream_pieces(["Hello <b>"]))
    async with serving(table({"a": first, "b": second})):
        response = await as_async(ada).post(URL, {**TYPED, "assume": ["a/m=503", ""]})
    html = response.content.decode()
    assert response.status_code == 200
    assert '<span class="said text">Hello &lt;b&gt;</span>' in html
    assert "200 from b/m" in html
    assert "Pretended: the provider was not called." in html
    assert first.requests == []


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("assume", ["nonsense", "a/m=whatever", "a/m=200"])
async def test_what_cannot_be_pretended_is_not_sent(ada, upstream, assume):
    first = await upstream()
    async with serving(table({"a": first})):
        response = await as_async(ada).post(URL, {**TYPED, "assume": assume}, headers=SCRIPT)
    assert response.status_code == 400
    assert first.requests == []


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_an_error_says_what_to_do(ada):
    async with serving(table({"a": "http://127.0.0.1:9/v1"})):
        response = await as_async(ada).post(URL, TYPED, headers=SCRIPT)
        read = await events(response)
    assert read[0] == ("head", {"status": 502, "served": ""})
    assert read[1][1]["kind"] == "error"
    assert "502 upstream_unreachable" in read[2][1]["html"]
    assert "Check its base URL in the admin" in read[2][1]["html"]


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_a_chosen_client_key_narrows_what_may_be_sent(ada, upstream):
    first = await upstream()
    narrow = caller("sk-sluice-narrow", id="7", name="narrow", models=("other",))
    expired = caller("sk-sluice-old", id="8", name="old", expires_at=1.0)
    async with serving(table({"a": first}, callers=(narrow, expired))):
        client = as_async(ada)
        said = [
            (
                response.status_code,
                await events(response) if response.streaming else response.content.decode(),
            )
            for number in (7, 8, 9)
            for response in [await client.post(URL, {**TYPED, "api_key_id": str(number)}, headers=SCRIPT)]
        ]
    assert said[0][1][0] == ("head", {"status": 403, "served": ""})
    assert said[1:] == [
        (400, "The client key is switched off or has expired; no request of it gets this far."),
        (400, "There is no client key 9."),
    ]
    assert first.requests == []


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_no_key_and_no_revision_is_made_of_it(ada, upstream):
    first = await upstream(pieces=stream_pieces(["Hello"]))
    async with serving(table({"a": first})):
        await events(await as_async(ada).post(URL, TYPED, headers=SCRIPT))
    assert await RoutingRevision.objects.acount() == 0
    assert await ClientKey.objects.acount() == 0


@pytest.mark.django_db
def test_requests_are_narrowed_by_who_sent_them(ada):
    base = {"status": 200, "outcome": "ok", "latency_ms": 1.0, "endpoint": "chat_completions"}
    for source in ("api", "try_it"):
        RequestRecord.objects.create(
            decision_id=source, request_id=source, started_at=factories.NOW, source=source, **base
        )
    found = {
        source: [
            trace.record.decision_id
            for trace in ada.get("/dashboard/requests/", {"source": source}).context["traces"]
        ]
        for source in ("", "api", "try_it")
    }
    assert found == {"": ["try_it", "api"], "api": ["api"], "try_it": ["try_it"]}
    assert "Try it</span>" in ada.get("/dashboard/requests/", {"source": "try_it"}).content.decode()


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_who_may_not_see_records_gets_no_link_to_one(ada, upstream):
    user = await User.objects.aget(username="ada")
    await user.user_permissions.through.objects.filter(permission__codename="view_requestrecord").adelete()
    async with serving(table({"a": await upstream(pieces=stream_pieces(["Hello"]))})):
        read = await events(await as_async(ada).post(URL, TYPED, headers=SCRIPT))
    assert "200 from a/m" in read[-1][1]["html"]
    assert "Open the record" not in read[-1][1]["html"]
