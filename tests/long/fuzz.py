"""Coverage-guided fuzzing of what reads bytes from outside: ``python -m tests.long.fuzz --minutes 10``.

Every target runs in a process of its own under atheris (``requirements/fuzz.txt``), from good examples as its
first corpus. An undocumented exception, a broken promise or five seconds over one input end it: the input is
kept in ``var/fuzz/`` and printed. What was found becomes a test.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import atheris

FOUND = Path(__file__).parents[2] / "var/fuzz"
LONGEST_INPUT_BYTES = 4096
SLOWEST_S = 5

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
with atheris.instrument_imports(include=["proxying", "routing"]):
    import django

    django.setup()
    import orjson

    from proxying import retry_after, sse
    from proxying.adapters import ADAPTERS
    from proxying.adapters.base import ClientBody, Target
    from proxying.auth import CallerRules, authenticate
    from proxying.errors import GatewayError, UpstreamError
    from proxying.fastlane import LaneRequest
    from proxying.multipart import FormScanner
    from proxying.outcome import request_id
    from proxying.schemas import parse_body
    from proxying.serving import session_key
    from proxying.splice import asks_for_usage, can_ask_for_usage, splice
    from proxying.upstream_address import Origin
    from proxying.upstream_connection import Connection, ConnectionEndedError, MalformedAnswerError
    from routing.config_context import Surroundings
    from routing.config_file import parse
    from routing.kinds import KINDS
    from routing.types import Caller, Endpoint, Provider
from tests.long import fuzz_seeds  # noqa: E402 - atheris comes first

NOW = 1_767_225_600.0
PROVIDERS = {
    kind.wire: Provider("p", kind.name, kind.default_base_url or "http://127.0.0.1:1/v1", api_key="k")
    for kind in KINDS.values()
}
CALLER = Caller("1", "ada")
DIALECTS = {"openai": Endpoint.CHAT, "anthropic": Endpoint.MESSAGES, "responses": Endpoint.RESPONSES}


def pieces(data: bytes) -> list[bytes]:
    """The data after its first two bytes, cut where they say."""
    cut, rest = int.from_bytes(data[:2], "big"), data[2:]
    size = 1 + cut % max(len(rest), 1)
    return [rest[at : at + size] for at in range(0, len(rest), size)]


def events(data: bytes) -> None:
    """Blocks, joined, are the stream, however it was cut; a block can be read."""
    whole, parts, cut = sse.Splitter(), sse.Splitter(), pieces(data)
    blocks = whole.feed(data[2:])
    assert b"".join(blocks) + whole.rest() == data[2:]
    in_parts = [block for piece in cut for block in parts.feed(piece)]
    assert b"".join(in_parts) + parts.rest() == data[2:]
    read = [event for event in map(sse.parse_event, blocks) if event is not None]
    again = [event for event in map(sse.parse_event, in_parts) if event is not None]
    if b"\r" not in data[2:]:
        assert read == again


def streams(data: bytes) -> None:
    """A translator takes whatever a provider sends, or says what is wrong with it."""
    wire, dialect = chosen(data, list(ADAPTERS)), chosen(data[1:], list(DIALECTS))
    body = client_body(dialect, stream=True)
    translator = ADAPTERS[wire].stream(body, Target(PROVIDERS[wire], "up"))
    given = b""
    try:
        for piece in pieces(data[2:]):
            given += translator.feed(piece)
        given += translator.end()
    except UpstreamError as error:
        given += error.partial
    events(b"\0\0" + given)


def answers(data: bytes) -> None:
    """A whole answer is read or refused; an error answer is always read."""
    wire, dialect, raw = chosen(data, list(ADAPTERS)), chosen(data[1:], list(DIALECTS)), data[3:]
    adapter = ADAPTERS[wire]
    with suppress(UpstreamError):
        orjson.loads(adapter.parse_response(200, {}, raw, client_body(dialect)).body)
    facts = adapter.parse_error(400 + 7 * (data[2:3] or b"\0")[0] % 200, {}, raw, NOW)
    assert facts.message
    assert facts.retry_after_s is None or facts.retry_after_s >= 0


def requests(data: bytes) -> None:
    """A request is refused with a message, or goes upstream as valid JSON, changed in its model only."""
    dialect, raw = chosen(data, list(DIALECTS)), data[1:]
    try:
        body = parse_body(raw, DIALECTS[dialect])
    except GatewayError as error:
        worded(error)
        return
    body.data.get("stream")
    session_key({}, body, CALLER, "x-session-id")
    for wire, adapter in ADAPTERS.items():
        try:
            built = adapter.build_request(body, Target(PROVIDERS[wire], "up/β"), {})
        except GatewayError as error:
            worded(error)
        else:
            json.loads(built.body)
    if dialect != "openai":
        return
    asks = can_ask_for_usage(body.data) and not asks_for_usage(body.data)
    try:
        sent = json.loads(splice(raw, body.data, model="up/β", ask_usage=asks))
    except GatewayError:
        return
    expected = {**json.loads(raw), "model": "up/β"}
    if isinstance(expected.get("provider"), str):
        del expected["provider"]
    if asks:
        expected["stream_options"] = {**(expected.get("stream_options") or {}), "include_usage": True}
    # NaN is not itself; orjson refuses it, so none can be here.
    assert sent == expected


def headers(data: bytes) -> None:
    """A client's header lines never do more than fail to name a caller."""
    lines = [line.partition(b":")[::2] for line in data.split(b"\n")]
    scope = {"method": "POST", "path": "/v1/chat/completions", "headers": lines, "query_string": b""}
    read = LaneRequest(scope, never).headers
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", request_id(read))
    session_key(read, client_body("openai"), CALLER, "x-session-id")
    try:
        authenticate(read, {}, CallerRules(), NOW)
    except GatewayError as error:
        worded(error)


def responses_of_http(data: bytes) -> None:
    """A provider's HTTP is an answer, a malformed one or a cut one, however its bytes are cut."""
    connection = Connection(LOOP, Origin("127.0.0.1", 1, False), nothing, nothing)
    connection.connection_made(Pipe())
    answer = connection.send(b"", b"")
    for piece in pieces(data):
        connection.data_received(piece)
    connection.eof_received()
    connection.connection_lost(None)
    try:
        LOOP.run_until_complete(answer.head(math.inf))
        while LOOP.run_until_complete(answer.next_piece(math.inf)):
            pass
    except (MalformedAnswerError, ConnectionEndedError):
        return
    assert answer.status >= 200


def waits(data: bytes) -> None:
    """How long to wait is nothing, or a finite number of seconds."""
    text = data.decode("latin-1")
    first, _, second = text.partition("\n")
    found = [
        retry_after.from_headers({"retry-after": first, "retry-after-ms": second}, NOW),
        retry_after.from_body({"details": [{"retryDelay": first}]}, second),
        retry_after.from_body({}, text),
        retry_after.parse_duration(text),
    ]
    for seconds in found:
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


def forms(data: bytes) -> None:
    """A form is refused, or read the same however it was cut; no other parser finds another model in it."""
    raw = data[2:]
    whole, parts = (FormScanner(b"b0", frozenset({b"model"})) for _ in range(2))
    try:
        whole.feed(raw)
        whole.end()
    except GatewayError as error:
        worded(error)
        return
    for piece in pieces(data):
        parts.feed(piece)
    parts.end()
    assert parts.fields == whole.fields
    field = whole.fields.get(b"model")
    if field is not None:
        head = b"Content-Type: multipart/form-data; boundary=b0\r\n\r\n"
        read = BytesParser(policy=HTTP).parsebytes(head + raw[: field.start] + b"routed" + raw[field.end :])
        named = [
            one for one in read.iter_parts() if one.get_param("name", header="content-disposition") == "model"
        ]
        assert [one.get_payload(decode=True) for one in named] in ([], [b"routed"])


def configurations(data: bytes) -> None:
    """A file is read, or all that is wrong with it is said; each problem has words."""
    read = parse(data, Surroundings(variable=lambda name: "x" if name == "ONE_KEY" else None))
    for problem in (*read.problems, *read.warnings):
        assert problem.message
        assert str(problem)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "events": events,
    "streams": streams,
    "answers": answers,
    "requests": requests,
    "headers": headers,
    "http": responses_of_http,
    "waits": waits,
    "forms": forms,
    "configurations": configurations,
}


class Pipe(asyncio.Transport):
    """Goes nowhere."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


LOOP = asyncio.new_event_loop()


async def never() -> dict[str, Any]:
    raise AssertionError("nobody reads")


def nothing(_: object) -> None: ...


def worded(error: GatewayError) -> None:
    """A refusal says why."""
    assert error.message


def chosen(data: bytes, names: list[str]) -> str:
    """One of the names, by the first byte."""
    return names[(data[:1] or b"\0")[0] % len(names)]


def client_body(dialect: str, *, stream: bool = False) -> ClientBody:
    """A small request of a dialect."""
    return parse_body(fuzz_seeds.small_request(dialect, stream=stream), DIALECTS[dialect])


def one(name: str, minutes: float) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    corpus = FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(fuzz_seeds.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={int(minutes * 60)}", f"-max_len={LONGEST_INPUT_BYTES}"]
    options += [f"-timeout={SLOWEST_S}", f"-artifact_prefix={FOUND}/{name}-", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


def all_of(names: list[str], minutes: float) -> int:
    """Fuzz each target for so long; print a line for each as Markdown."""
    sys.stdout.write("| target | minutes | inputs tried | found |\n| --- | --- | --- | --- |\n")
    worst = 0
    for name in names:
        argv = [sys.executable, "-m", "tests.long.fuzz", "--one", name, "--minutes", str(minutes)]
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace")
        tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        shown = f"{int(tried[1]):,}" if tried else "?"
        verdict = "nothing" if done.returncode == 0 else f"exit {done.returncode}"
        taken = (time.monotonic() - began) / 60
        sys.stdout.write(f"| {name} | {taken:.1f} | {shown} | {verdict} |\n")
        sys.stdout.flush()
        if done.returncode:
            worst = 1
            sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target (10)")
    parser.add_argument("--one", choices=list(TARGETS), help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all without")
    options = parser.parse_args()
    if options.one:
        one(options.one, options.minutes)
    return all_of(options.targets or list(TARGETS), options.minutes)


if __name__ == "__main__":
    sys.exit(main())
