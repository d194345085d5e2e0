"""Commands to copy: quoted for a shell, with a placeholder where the key goes. Pure."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

_HELLO: Final = [{"role": "user", "content": "Hello"}]
# Paths and smallest bodies of endpoints, by the name in a record; a model is added to each.
_STUBS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat_completions": ("/chat/completions", {"messages": _HELLO}),
    "completions": ("/completions", {"prompt": "Hello"}),
    "embeddings": ("/embeddings", {"input": "Hello"}),
    "responses": ("/responses", {"input": "Hello"}),
    "messages": ("/messages", {"max_tokens": 256, "messages": _HELLO}),
    "images": ("/images/generations", {"prompt": "A lighthouse at dusk"}),
    "moderations": ("/moderations", {"input": "Hello"}),
    "rerank": ("/rerank", {"query": "Hello", "documents": ["Hello there", "Goodbye"]}),
    "count_tokens": ("/messages/count_tokens", {"messages": _HELLO}),
}


def chat_curl(base_url: str, body: dict[str, Any]) -> str:
    """A chat, as a command."""
    return _curl(f"{base_url}/chat/completions", body)


def stub_curl(base_url: str, endpoint: str, model: str, *, streamed: bool = False) -> str:
    """A request like a recorded one, with a message of ours; empty where an endpoint takes no JSON."""
    found = _STUBS.get(endpoint)
    if found is None:
        return ""
    path, fields = found
    return _curl(base_url + path, {"model": model, **fields, **({"stream": True} if streamed else {})})


def _curl(url: str, body: dict[str, Any]) -> str:
    streamed = "-N " if body.get("stream") else ""
    return (
        f"curl {streamed}{shlex.quote(url)} \\\n"
        '  -H "Authorization: Bearer $SLUICE_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
    )


def sdk_chat(base_url: str, model: str) -> str:
    """A chat with OpenAI's SDK for Python."""
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url={json.dumps(base_url)}, api_key="sk-sluice-…")\n'
        "answer = client.chat.completions.create(\n"
        f"    model={json.dumps(model, ensure_ascii=False)},\n"
        '    messages=[{"role": "user", "content": "Hello"}],\n'
        ")\nprint(answer.choices[0].message.content)"
    )
