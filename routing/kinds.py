"""The provider kinds: one data row each. A vendor that speaks OpenAI's format needs nothing but its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from routing.types import Endpoint

# Dialects of one conversation: whoever speaks one of them serves all, by translation.
CONVERSATIONS: Final = frozenset({Endpoint.CHAT, Endpoint.MESSAGES, Endpoint.RESPONSES})
# What a vendor speaks itself.
CHAT_ONLY: Final = frozenset({Endpoint.CHAT})
CHAT_AND_COMPLETIONS: Final = CHAT_ONLY | {Endpoint.COMPLETIONS}
CHAT_AND_EMBEDDINGS: Final = CHAT_ONLY | {Endpoint.EMBEDDINGS}
OPENAI_ENDPOINTS: Final = CHAT_AND_COMPLETIONS | {Endpoint.EMBEDDINGS}
ANTHROPIC_ENDPOINTS: Final = frozenset({Endpoint.MESSAGES, Endpoint.COUNT_TOKENS})
LISTENING: Final = frozenset({Endpoint.TRANSCRIPTIONS, Endpoint.TRANSLATIONS})
AUDIO: Final = LISTENING | {Endpoint.SPEECH}
IMAGES_ONLY: Final = frozenset({Endpoint.IMAGES})
IMAGES_AND_EDITS: Final = IMAGES_ONLY | {Endpoint.IMAGE_EDITS}
ALL_IMAGES: Final = IMAGES_AND_EDITS | {Endpoint.IMAGE_VARIATIONS}
MODERATIONS: Final = frozenset({Endpoint.MODERATIONS})
RERANK: Final = frozenset({Endpoint.RERANK})
RESPONSES: Final = frozenset({Endpoint.RESPONSES})
EVERYTHING_OF_OPENAI: Final = OPENAI_ENDPOINTS | AUDIO | ALL_IMAGES | MODERATIONS


@dataclass(frozen=True, slots=True)
class Kind:
    """How to speak to a vendor.

    Attributes:
        name: What stands in ``type:`` of the configuration file.
        label: What people read.
        wire: The adapter in ``proxying.adapters.ADAPTERS``.
        default_base_url: With the version prefix; empty when the operator must give one. ``{region}`` in it
            is the provider's option of that name.
        endpoints: What the vendor speaks itself; the source of each stands in docs/providers.md.
        auth_header: The header that carries the credential.
        auth_scheme: The word before the credential, empty for none.
        needs_key: Whether a provider without a credential is a mistake.
        lists_models: Whether ``GET {base_url}/models`` is worth asking.
        signs_for: The service in whose name requests are signed when the credential is an access key,
            ``ID:SECRET`` or ``ID:SECRET:SESSION_TOKEN``, which is never sent itself; see ``routing.signing``.
        deployments_version: The API version for addresses of deployments (``…/deployments/NAME``), where the
            vendor has these. Its models list names what could be deployed: nothing of it is inventory.
        lists_to_anyone: Whether that list needs no credential, so that getting it says nothing about one.
        headers: What every request carries besides the credential, unless the client says otherwise.
        quirks: Flags that the adapter knows; see the adapter's docstring.
    """

    name: str
    label: str
    wire: str = "openai"
    default_base_url: str = ""
    endpoints: frozenset[Endpoint] = OPENAI_ENDPOINTS
    auth_header: str = "authorization"
    auth_scheme: str = "Bearer"
    needs_key: bool = True
    lists_models: bool = True
    signs_for: str = ""
    deployments_version: str = ""
    lists_to_anyone: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    quirks: frozenset[str] = frozenset()

    @property
    def serves(self) -> frozenset[Endpoint]:
        """What candidates of this kind can serve: what the vendor speaks, and what is translated to that."""
        return self.endpoints | CONVERSATIONS if self.endpoints & CONVERSATIONS else self.endpoints


# Quirks of the OpenAI wire, each with its source in docs/providers.md:
#   no_stream_options   refuses or ignores stream_options, so they are never sent
#   models_prefix       ids in the models list carry "models/", which a request does not need
#   strip_unknown       refuses unknown parameters with a 400
# and of translated requests, those of clients of Anthropic's dialect or of Responses:
#   openai_parameters   takes max_completion_tokens, safety_identifier; reasoning models refuse sampling
#   no_effort           refuses reasoning_effort
#   top_k               takes top_k
#   claude_marks        takes cache_control, and Claude's signed thinking as reasoning_details
#   reasoning_back      wants the reasoning of earlier turns back, as reasoning_content
#   signed_calls        wants the extra_content of tool calls back, which signs them
_ROWS: Final = (
    Kind(
        "openai",
        "OpenAI",
        default_base_url="https://api.openai.com/v1",
        endpoints=EVERYTHING_OF_OPENAI | RESPONSES,
        quirks=frozenset({"openai_parameters"}),
    ),
    Kind(
        "anthropic",
        "Anthropic",
        wire="anthropic",
        default_base_url="https://api.anthropic.com/v1",
        endpoints=ANTHROPIC_ENDPOINTS,
        auth_header="x-api-key",
        auth_scheme="",
        headers=(("anthropic-version", "2023-06-01"),),
    ),
    Kind(
        "azure_openai",
        "Azure OpenAI",
        endpoints=OPENAI_ENDPOINTS | AUDIO | IMAGES_AND_EDITS | RESPONSES,
        auth_header="api-key",
        auth_scheme="",
        quirks=frozenset({"openai_parameters"}),
        deployments_version="2024-10-21",
    ),
    Kind(
        "groq",
        "Groq",
        default_base_url="https://api.groq.com/openai/v1",
        endpoints=CHAT_ONLY | AUDIO | RESPONSES,
    ),
    Kind(
        "xai",
        "xAI",
        default_base_url="https://api.x.ai/v1",
        endpoints=CHAT_ONLY | IMAGES_ONLY | RESPONSES,
    ),
    Kind(
        "deepseek",
        "DeepSeek",
        default_base_url="https://api.deepseek.com/v1",
        endpoints=CHAT_AND_COMPLETIONS,
        quirks=frozenset({"reasoning_back"}),
    ),
    Kind(
        "openrouter",
        "OpenRouter",
        default_base_url="https://openrouter.ai/api/v1",
        endpoints=OPENAI_ENDPOINTS | RERANK | RESPONSES,
        lists_to_anyone=True,
        quirks=frozenset({"top_k"}),
    ),
    Kind(
        "mistral",
        "Mistral",
        default_base_url="https://api.mistral.ai/v1",
        endpoints=CHAT_AND_EMBEDDINGS | MODERATIONS | {Endpoint.TRANSCRIPTIONS},
        quirks=frozenset({"no_stream_options", "no_effort"}),
    ),
    Kind(
        "together",
        "Together",
        default_base_url="https://api.together.xyz/v1",
        endpoints=OPENAI_ENDPOINTS | AUDIO | IMAGES_ONLY | RERANK,
    ),
    Kind(
        "fireworks",
        "Fireworks",
        default_base_url="https://api.fireworks.ai/inference/v1",
        endpoints=OPENAI_ENDPOINTS | RESPONSES,
    ),
    Kind(
        "cerebras",
        "Cerebras",
        default_base_url="https://api.cerebras.ai/v1",
        endpoints=CHAT_AND_COMPLETIONS,
    ),
    Kind(
        "moonshot",
        "Moonshot",
        default_base_url="https://api.moonshot.ai/v1",
        endpoints=CHAT_ONLY,
        quirks=frozenset({"reasoning_back"}),
    ),
    Kind(
        "perplexity",
        "Perplexity",
        default_base_url="https://api.perplexity.ai",
        endpoints=CHAT_ONLY,
        lists_models=False,
        quirks=frozenset({"no_stream_options"}),
    ),
    Kind(
        "gemini",
        "Gemini (OpenAI endpoint)",
        default_base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        endpoints=CHAT_AND_EMBEDDINGS | IMAGES_ONLY,
        quirks=frozenset({"models_prefix", "signed_calls"}),
    ),
    Kind(
        "gemini_native",
        "Gemini",
        wire="gemini",
        default_base_url="https://generativelanguage.googleapis.com/v1beta",
        endpoints=CHAT_AND_EMBEDDINGS,
        auth_header="x-goog-api-key",
        auth_scheme="",
        quirks=frozenset({"top_k"}),
    ),
    Kind(
        "jina",
        "Jina",
        default_base_url="https://api.jina.ai/v1",
        endpoints=RERANK | {Endpoint.EMBEDDINGS},
        lists_models=False,
    ),
    Kind(
        "bedrock",
        "Amazon Bedrock",
        wire="bedrock",
        default_base_url="https://bedrock-runtime.{region}.amazonaws.com",
        endpoints=CHAT_ONLY,
        signs_for="bedrock",
        lists_models=False,
        quirks=frozenset({"top_k", "claude_marks"}),
    ),
    Kind("ollama", "Ollama", default_base_url="http://127.0.0.1:11434/v1", needs_key=False),
    Kind(
        "vllm",
        "vLLM",
        default_base_url="http://127.0.0.1:8000/v1",
        endpoints=OPENAI_ENDPOINTS | LISTENING | RERANK,
        needs_key=False,
        quirks=frozenset({"top_k"}),
    ),
    Kind(
        "openai_compatible",
        "OpenAI-compatible",
        endpoints=EVERYTHING_OF_OPENAI | RERANK,
        needs_key=False,
    ),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({row.name: row for row in _ROWS})
