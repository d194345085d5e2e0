"""``langchain-anthropic`` through its own project's standard tests."""

from __future__ import annotations

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage

from tests.clients.gateway import pool_of
from tests.clients.langchain_suite import StandardTests, for_each_wire


class OfChatAnthropic(StandardTests):
    """Messages."""

    @property
    def chat_model_class(self) -> type[ChatAnthropic]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": pool_of(self.kind),
            "base_url": self.gateway.anthropic_url,
            "api_key": self.gateway.key,
            "max_retries": 0,
            "max_tokens": 4096,
        }

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        details = ["cache_read_input"]
        if self.kind == "anthropic":
            details.append("cache_creation_input")
        return {"invoke": details, "stream": details}

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._asked("Put this into the cache and answer.", stream=stream)


globals().update(for_each_wire("langchain-anthropic", OfChatAnthropic))
