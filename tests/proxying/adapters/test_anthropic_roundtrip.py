"""What survives the way from chat completions to Messages and back: text, calls, order, usage."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from proxying.adapters.anthropic_answer import chat_answer
from proxying.adapters.anthropic_request import messages_request
from proxying.adapters.anthropic_stream import ChatChunks
from proxying.adapters.base import Target
from proxying.adapters.messages_answer import messages_answer
from proxying.adapters.messages_request import chat_request
from proxying.adapters.messages_stream import MessagesEvents
from proxying.errors import InvalidRequestError
from routing.types import Provider
from tests.proxying.adapters.dialect_streams import (
    chunk,
    completion_of,
    events_of,
    message_of,
    usage_chunk,
)

ANTHROPIC = Target(Provider("a", "anthropic", "https://a.example/v1"), "claude-sonnet-4-6")
OPENAI = Target(Provider("o", "openai_compatible", "https://o.example/v1"), "up-model")

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(
    lambda t: f"w{t}w"
)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
json_objects = st.dictionaries(
    words,
    st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | words, st.lists, max_leaves=4),
    max_size=3,
)
pictures = st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}})
texts = words.map(lambda text: {"type": "text", "text": text})


def call(number: int, name: str, arguments: dict) -> dict:
    function = {"name": name, "arguments": json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)}
    return {"id": f"call_{number}", "type": "function", "function": function}


@st.composite
def calls(draw, least: int = 0):
    given_calls = draw(st.lists(st.tuples(names, json_objects), min_size=least, max_size=3))
    return [call(number, name, arguments) for number, (name, arguments) in enumerate(given_calls)]


@st.composite
def conversations(draw):
    messages = [{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        messages.append(
            {"role": "user", "content": draw(words | st.lists(texts | pictures, min_size=2, max_size=3))}
        )
        used = draw(calls())
        said = draw(words if not used else st.none() | words)
        messages.append({"role": "assistant", "content": said, **({"tool_calls": used} if used else {})})
        messages += [{"role": "tool", "tool_call_id": one["id"], "content": draw(words)} for one in used]
        if used:
            messages.append({"role": "assistant", "content": draw(words)})
    messages.append({"role": "user", "content": draw(words)})
    return messages


@given(conversations())
def test_conversation_survives_both_ways(messages):
    sent = messages_request({"model": "m", "messages": messages, "max_tokens": 9}, ANTHROPIC)
    assert chat_request(sent, OPENAI) == {"model": "up-model", "messages": messages, "max_tokens": 9}


@st.composite
def answers(draw):
    used = draw(calls())
    said = draw(st.none() | words) if used else draw(words)
    message = {"role": "assistant", "content": said, "refusal": None}
    thought = draw(st.none() | words)
    if thought:
        message["reasoning_content"] = thought
    if used:
        message["tool_calls"] = used
    prompt, cached, stored, completion = draw(st.tuples(*[st.integers(0, 1000)] * 4))
    usage = {
        "prompt_tokens": prompt + cached + stored,
        "completion_tokens": completion,
        "total_tokens": prompt + cached + stored + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": stored},
    }
    reason = "tool_calls" if used else draw(st.sampled_from(["stop", "length", "content_filter"]))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


@given(answers())
def test_answer_survives_both_ways(answer):
    back = chat_answer(messages_answer(answer, lambda: "x"), 1)
    back["choices"][0]["message"].pop("reasoning_details", None)
    assert back == {**answer, "id": "msg_c1"}


def pieces(draw, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def streams(draw):
    """An answer and a stream of it, cut anywhere; deltas of calls may interleave."""
    answer = draw(answers())
    message = answer["choices"][0]["message"]
    blocks = [chunk({"role": "assistant", "content": ""})]
    for name in ("reasoning_content", "content"):
        blocks += [chunk({name: piece}) for piece in pieces(draw, message.get(name) or "")]
    waiting = []
    for number, used in enumerate(message.get("tool_calls", [])):
        head = {**used, "index": number, "function": {"name": used["function"]["name"], "arguments": ""}}
        rest = [
            {"index": number, "function": {"arguments": piece}}
            for piece in pieces(draw, used["function"]["arguments"])
        ]
        waiting.append([head, *rest])
    if draw(st.booleans()):
        while any(waiting):
            queue = draw(st.sampled_from([number for number, queue in enumerate(waiting) if queue]))
            if any(len(earlier) and "id" in earlier[0] for earlier in waiting[:queue]):
                continue  # calls begin in order
            blocks.append(chunk({"tool_calls": [waiting[queue].pop(0)]}))
    else:
        blocks += [chunk({"tool_calls": [delta]}) for queue in waiting for delta in queue]
    blocks += [chunk({}, answer["choices"][0]["finish_reason"]), usage_chunk(**answer["usage"])]
    return answer, b"".join([*blocks, b"data: [DONE]\n\n"])


def rewrite(writer, raw: bytes) -> bytes:
    return b"".join(writer.write(one) for one in events_of(raw))


@settings(max_examples=300)
@given(streams())
def test_stream_equals_the_whole_answer(case):
    """T57: and every event has its line, blocks never interleave."""
    answer, raw = case
    events = rewrite(MessagesEvents(lambda: "x"), raw)
    whole = messages_answer(answer, lambda: "x")
    assert message_of(events) == whole
    back = completion_of(rewrite(ChatChunks(created=1, with_usage=True), events))
    expected = chat_answer(whole, 1)
    message = expected["choices"][0]["message"]
    message["content"] = message["content"] or ""
    if message["refusal"] is None:
        del message["refusal"]
    assert back["choices"][0]["message"] == message
    assert back["choices"][0]["finish_reason"] == answer["choices"][0]["finish_reason"]
    assert back["usage"] == answer["usage"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "user", "tool_use", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "role", "content", "text", "id", "name", "function", "arguments", "tool_calls"),
                    *("image_url", "url", "source", "file", "input", "tool_use_id", "tool_call_id", "schema"),
                    *("json_schema", "index", "format", "data", "mode", "tools", "citations", "thinking"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = [
    *("messages", "tools", "tool_choice", "stop", "response_format", "reasoning_effort", "max_tokens", "n"),
    *(
        "system",
        "stop_sequences",
        "thinking",
        "output_config",
        "metadata",
        "functions",
        "user",
        "temperature",
    ),
    *("service_tier", "logit_bias", "modalities", "function_call", "parallel_tool_calls", "output_format"),
]


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=5), st.booleans())
def test_whatever_is_sent_is_rewritten_or_refused(fields, valid_messages):
    if valid_messages:
        fields = {**fields, "messages": [{"role": "user", "content": "hi"}]}
    for rewritten, where in ((messages_request, ANTHROPIC), (chat_request, OPENAI)):
        refused = ""
        written: dict = {}
        try:
            written = rewritten({"model": "m", **fields}, where)
        except InvalidRequestError as error:
            refused = error.param or "unnamed"
        assert bool(written.get("messages")) == (refused == "")
        assert refused != "unnamed"
