"""LangChain's standard tests of chat models, once for each wire."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.clients.gateway import Gateway
from tests.clients.pictures import png
from tests.clients.vendors import CHOSEN, VENDORS

# What the suite would fetch from the world.
FETCHED = {".png": png(), ".pdf": b"%PDF-1.4\n%%EOF\n", ".wav": b"RIFF\x24\0\0\0WAVEfmt "}


class StandardTests(ChatModelIntegrationTests):
    """What all clients have in common. Subclasses say which client, and where ``kind`` leads."""

    kind: str

    @pytest.fixture(autouse=True)
    def _at_the_gateway(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway = gateway
        monkeypatch.setattr(httpx, "get", _fetch)
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nobody")

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        """The bare name of a model leads to the one provider that has it."""
        return VENDORS[self.kind].model

    def _asked(self, prompt: str, *, stream: bool, **options: Any) -> AIMessage:
        model: BaseChatModel = self.chat_model_class(**self.chat_model_params, **options)
        if not stream:
            return model.invoke(prompt)
        full = None
        for chunk in model.stream(prompt):
            full = chunk if full is None else full + chunk
        assert isinstance(full, AIMessage)
        return full

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._asked("Answer from the cache what you were asked.", stream=stream)


def _fetch(url: str, **_: Any) -> httpx.Response:
    (content,) = [data for suffix, data in FETCHED.items() if url.endswith(suffix)]
    return httpx.Response(200, content=content)


def for_each_wire(
    client: str, base: type[StandardTests], prefix: str = "TestAt", **more: str
) -> dict[str, type]:
    """The classes of a module, by the names that pytest finds them by; ``more`` are further kinds by name."""
    classes = {}
    for wire, kind in {**CHOSEN, **more}.items():
        name = f"{prefix}{wire.title()}"
        made = type(name, (base,), {"kind": kind, "__module__": base.__module__})
        classes[name] = pytest.mark.cell(client, kind)(made)
    return classes
