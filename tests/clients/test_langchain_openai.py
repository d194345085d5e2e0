"""``langchain-openai`` through its own project's standard tests."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

from tests.clients.gateway import pool_of
from tests.clients.langchain_suite import StandardTests, for_each_wire

DETAILS = ["cache_read_input", "reasoning_output"]


class OfChatOpenAI(StandardTests):
    """Chat completions."""

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": pool_of(self.kind),
            "base_url": self.gateway.openai_url,
            "api_key": self.gateway.key,
            "max_retries": 0,
            "stream_usage": True,
        }

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        details = DETAILS[:1] if self.kind == "bedrock" else DETAILS  # Converse does not count thoughts
        return {"invoke": details, "stream": details}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._asked("Think.", stream=stream, reasoning_effort="medium")


globals().update(for_each_wire("langchain-openai", OfChatOpenAI))


class OfResponses(OfChatOpenAI):
    """Responses."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}

    @property
    def supports_audio_inputs(self) -> bool:
        return False

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True


# At the chosen vendor of OpenAI's format they go straight through, at most others they are translated.
globals().update(
    for_each_wire("langchain-openai resp.", OfResponses, "TestResponsesAt", chat="openai_compatible")
)
