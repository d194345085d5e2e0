"""One line per wire format; kinds (``routing.kinds``) name the one they speak.

A wire's own adapter serves chat completions and Messages. Responses come on top of whatever it is: where
the vendor does not speak them, they are translated to chat completions, and from there as any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxying.adapters.anthropic import AnthropicAdapter
from proxying.adapters.base import Adapter
from proxying.adapters.bedrock import BedrockAdapter
from proxying.adapters.chat_over_anthropic import ChatOverAnthropic
from proxying.adapters.dialects import ByDialect
from proxying.adapters.gemini import GeminiAdapter
from proxying.adapters.messages_over_chat import MessagesOverChat
from proxying.adapters.openai import OpenAIAdapter
from proxying.adapters.responses_over_chat import ResponsesOverChat
from routing.kinds import KINDS
from routing.types import Endpoint, Provider
from routing.upstreams import speaks

_WIRES: Final[Mapping[str, Adapter]] = MappingProxyType(
    {
        "openai": ByDialect(OpenAIAdapter(), {"anthropic": MessagesOverChat()}),
        "anthropic": ByDialect(AnthropicAdapter(), {"openai": ChatOverAnthropic()}),
        "bedrock": ByDialect(BedrockAdapter(), {"anthropic": MessagesOverChat()}),
        "gemini": ByDialect(GeminiAdapter(), {"anthropic": MessagesOverChat()}),
    }
)
ADAPTERS: Final[Mapping[str, ByDialect]] = MappingProxyType(
    {name: ByDialect(wire, {"responses": ResponsesOverChat()}) for name, wire in _WIRES.items()}
)


def adapter_for(provider: Provider, endpoint: Endpoint) -> Adapter:
    """Who writes and reads an endpoint's requests at a provider."""
    adapter = ADAPTERS[KINDS[provider.kind].wire]
    return adapter.native if speaks(provider, endpoint) else adapter
