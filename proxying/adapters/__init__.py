"""One line per wire format; kinds (``routing.kinds``) name the one they speak."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxying.adapters.anthropic import AnthropicAdapter
from proxying.adapters.base import Adapter
from proxying.adapters.chat_over_anthropic import ChatOverAnthropic
from proxying.adapters.dialects import ByDialect
from proxying.adapters.gemini import GeminiAdapter
from proxying.adapters.messages_over_chat import MessagesOverChat
from proxying.adapters.openai import OpenAIAdapter

ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType(
    {
        "openai": ByDialect(OpenAIAdapter(), {"anthropic": MessagesOverChat()}),
        "anthropic": ByDialect(AnthropicAdapter(), {"openai": ChatOverAnthropic()}),
        "gemini": ByDialect(GeminiAdapter(), {"anthropic": MessagesOverChat()}),
    }
)
