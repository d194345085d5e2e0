"""An upload on its way: read once, kept up to its bounds, handed to one reader at a time."""

from __future__ import annotations

import asyncio

import pytest

from proxying.errors import (
    ClientGoneError,
    InvalidRequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    UploadMemoryError,
)
from proxying.multipart import FormScanner
from proxying.upload import ClientForm, ReplayMemory, Upload, UploadLimits

pytestmark = pytest.mark.anyio

HEAD = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\npool\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
END = b"\r\n--b--\r\n"
BODY = [HEAD + FILE, b"x" * 1000, b"y" * 1000, b"z" * 1000, END]


class Source:
    """A client: its pieces, and how many of them were asked for."""

    def __init__(self, pieces=BODY, *, leaves: bool = False) -> None:
        self.pieces = list(pieces)
        self.taken = 0
        self.leaves = leaves
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def chunks(self):
        for piece in self.pieces:
            await self.go_on.wait()
            self.taken += 1
            yield piece
        if self.leaves:
            raise ClientGoneError("The client left.")


def upload(source: Source, *, keep=1_000_000, most=1_000_000, declared=None, room=1_000_000):
    memory = ReplayMemory(room)
    scanner = FormScanner(b"b", frozenset({b"model"}))
    return Upload(source.chunks(), scanner, memory, UploadLimits(keep, most, declared)), memory


async def form_of(made: Upload) -> ClientForm:
    return ClientForm("multipart/form-data; boundary=b", made, await made.read_until_model())


async def all_of(form: ClientForm, model: str = "m") -> bytes:
    sent = form.with_model(model)
    return sent if isinstance(sent, bytes) else b"".join([piece async for piece in sent.pieces()])


def cost(*pieces: bytes) -> int:
    """What a copy of them takes: a piece is more than its bytes."""
    return sum(len(piece) + 64 for piece in pieces)


def expected(model: bytes, pieces=BODY) -> bytes:
    return b"".join(pieces).replace(b"pool", model)


async def test_no_more_is_read_than_is_needed_and_taken() -> None:
    source = Source()
    made, memory = upload(source)
    form = await form_of(made)
    assert source.taken == 1
    pieces = form.with_model("other").pieces()
    first = await anext(pieces)
    assert (first, source.taken) == ((HEAD + FILE).replace(b"pool", b"other"), 2)
    await pieces.aclose()
    await form.close()
    assert memory.held_bytes == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 5000])
async def test_form_is_the_same_for_everybody_at_every_cut(size) -> None:
    whole = b"".join(BODY)
    made, memory = upload(Source([whole[at : at + size] for at in range(0, len(whole), size)]))
    form = await form_of(made)
    assert (await all_of(form, "one"), await all_of(form, "a-longer-one")) == (
        expected(b"one"),
        expected(b"a-longer-one"),
    )
    assert memory.held_bytes == cost(*[whole[at : at + size] for at in range(0, len(whole), size)])
    await form.close()
    await form.close()
    assert memory.held_bytes == 0


async def test_length_is_told_where_it_is_known() -> None:
    size = len(b"".join(BODY))
    known, _ = upload(Source(), declared=size)
    unknown, _ = upload(Source())
    assert (await form_of(known)).with_model("longer-name").length == size + len("longer-name") - len("pool")
    assert (await form_of(unknown)).with_model("m").length is None


async def test_next_reader_takes_over_what_the_first_waited_for() -> None:
    source = Source()
    made, _ = upload(source)
    form = await form_of(made)
    source.go_on.clear()
    first = asyncio.create_task(all_of(form, "first"))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(all_of(form, "second"))
    await asyncio.sleep(0.01)
    source.go_on.set()
    assert (await second, source.taken) == (expected(b"second"), len(BODY))


async def test_copy_is_let_go_beyond_its_bound() -> None:
    made, memory = upload(Source(), keep=1500)
    form = await form_of(made)
    held = []
    got = b""
    async for piece in form.with_model("m").pieces():
        got += piece
        held.append(memory.held_bytes)
    assert (got, max(held), held[-1], form.can_be_sent) == (expected(b"m"), cost(*BODY[:2]), 0, False)
    await form.close()
    assert memory.held_bytes == 0


async def test_room_is_shared() -> None:
    made, memory = upload(Source(), room=1500)
    assert memory.take(1400) is True
    form = await form_of(made)
    assert (await all_of(form), memory.held_bytes, form.can_be_sent) == (expected(b"m"), 1400, False)


@pytest.mark.parametrize(("room", "problem"), [(1_000_000, InvalidRequestError), (1500, UploadMemoryError)])
async def test_model_behind_the_file_needs_room(room, problem) -> None:
    made, _ = upload(Source([FILE, *BODY[1:4], b"\r\n" + HEAD + END[2:]]), keep=2500, room=room)
    with pytest.raises(problem):
        await made.read_until_model()


@pytest.mark.parametrize(
    ("source", "limits", "problem"),
    [
        (Source(BODY[:-1]), {}, InvalidRequestError),
        (Source([*BODY[:-1], b"\r\n" + HEAD + END[2:]]), {}, InvalidRequestError),
        (Source(), {"most": 2000}, RequestTooLargeError),
        (Source(), {"declared": 2000}, InvalidRequestError),
        (Source(BODY[:3], leaves=True), {}, ClientGoneError),
    ],
)
async def test_bad_form_never_reaches_its_end(source, limits, problem) -> None:
    made, _ = upload(source, **limits)
    form = await form_of(made)
    got = b""
    with pytest.raises(problem):  # noqa: PT012 - it fails at some piece
        async for piece in form.with_model("m").pieces():
            got += piece
    assert len(got) < len(b"".join(source.pieces))
    assert form.can_be_sent is False


async def test_halted_sender_gets_nothing_more() -> None:
    source = Source()
    made, _ = upload(source)
    form = await form_of(made)
    sent = form.with_model("m")
    pieces = sent.pieces()
    await anext(pieces)
    sent.halt()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(pieces), 0.05)
    assert source.taken == 2


async def test_deadline_is_the_clients_while_it_is_waited_for() -> None:
    source = Source()
    made, _ = upload(source)
    form = await form_of(made)
    assert form.late() is None
    source.go_on.clear()
    waiting = asyncio.create_task(all_of(form))
    await asyncio.sleep(0.01)
    assert (type(form.late()), form.can_be_sent) == (RequestTimeoutError, False)
    waiting.cancel()
    await asyncio.wait([waiting])
    await form.close()


async def test_copy_is_let_go_once_somebody_serves() -> None:
    source = Source()
    made, memory = upload(source)
    form = await form_of(made)
    pieces = form.with_model("m").pieces()
    got = [await anext(pieces)]
    form.let_go()
    assert (memory.held_bytes, form.can_be_sent) == (cost(BODY[1]), False)  # the piece that was read ahead
    got += [piece async for piece in pieces]
    assert (b"".join(got), memory.held_bytes) == (expected(b"m"), 0)


async def test_many_small_pieces_take_more_room_than_their_bytes() -> None:
    whole = b"".join(BODY)
    made, memory = upload(Source([whole[at : at + 2] for at in range(0, len(whole), 2)]), keep=20_000)
    form = await form_of(made)
    held = [memory.held_bytes async for _ in form.with_model("m").pieces()]
    assert (len(whole) < 20_000, 19_000 < max(held) <= 20_000, held[-1]) == (True, True, 0)
