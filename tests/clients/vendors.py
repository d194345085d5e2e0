"""One line for each provider kind, as ``routing.kinds`` has them: a kind without its line fails the suite."""

from __future__ import annotations

from routing.kinds import KINDS
from tests.clients.wires.anthropic import Anthropic
from tests.clients.wires.base import Vendor, Wire
from tests.clients.wires.bedrock import Bedrock
from tests.clients.wires.gemini import Gemini
from tests.clients.wires.openai import OpenAI

# How a vendor serves each wire format, and below it the prefix of its addresses.
WIRES: dict[str, Wire] = {
    "openai": OpenAI(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
    "bedrock": Bedrock(),
}
PREFIXES = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta", "bedrock": ""}

VENDORS: dict[str, Vendor] = {
    "openai": Vendor("gpt-4.1", responses=True),
    "anthropic": Vendor("claude-sonnet-4-5", credential=("x-api-key", "")),
    "azure_openai": Vendor("gpt-4.1-azure", credential=("api-key", ""), responses=True),
    "groq": Vendor("llama-3.3-70b-versatile", responses=True),
    "xai": Vendor("grok-4", responses=True),
    "deepseek": Vendor("deepseek-chat"),
    "openrouter": Vendor("meta-llama/llama-4-maverick", takes=frozenset({"top_k"}), responses=True),
    "mistral": Vendor("mistral-large-latest", refuses=frozenset({"stream_options", "reasoning_effort"})),
    "together": Vendor("Qwen/Qwen3-235B"),
    "fireworks": Vendor("accounts/fireworks/models/glm-4p6", responses=True),
    "cerebras": Vendor("gpt-oss-120b"),
    "moonshot": Vendor("kimi-k2"),
    "perplexity": Vendor("sonar-pro", refuses=frozenset({"stream_options"})),
    "gemini": Vendor("gemini-2.5-flash"),
    "gemini_native": Vendor("gemini-3-pro-preview", credential=("x-goog-api-key", "")),
    "bedrock": Vendor("anthropic.claude-sonnet-4-5-20250929-v1:0", names_itself=False),
    "ollama": Vendor("llama3.2"),
    "vllm": Vendor("qwen3-32b", takes=frozenset({"top_k"})),
    "jina": Vendor("jina-embeddings-v3"),
    "openai_compatible": Vendor("local-model"),
}
# One kind for each wire: the suites of whole frameworks go there.
CHOSEN = {"openai": "openai", "anthropic": "anthropic", "gemini": "gemini_native", "bedrock": "bedrock"}


def missing() -> list[str]:
    """What of the gateway's kinds and wires nobody scripted yet."""
    wires = {kind.wire for kind in KINDS.values()}
    return sorted({*(KINDS.keys() ^ VENDORS.keys()), *(wires ^ WIRES.keys()), *(wires ^ CHOSEN.keys())})
