"""What an answer cost, from the price list inside the package ``genai-prices``. Too slow for the hot path."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# Our kinds by the names of the price list. What is not here (local servers) has no known price.
_SELLERS: Final = {
    "anthropic": "anthropic",
    "azure_openai": "azure",
    "bedrock": "aws",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "gemini_native": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "xai": "x-ai",
}


@lru_cache(maxsize=8192)
def cost_microusd(
    kind: str, model: str, prompt_tokens: int | None, completion_tokens: int | None, cached_tokens: int | None
) -> int | None:
    """Millionths of a US dollar; None when the price or the usage is not known."""
    seller = _SELLERS.get(kind)
    if seller is None or prompt_tokens is None:
        return None
    # 30 MB that a worker does without until it meets the first model with a price.
    import genai_prices  # noqa: PLC0415

    usage = genai_prices.Usage(
        input_tokens=prompt_tokens,
        output_tokens=completion_tokens or 0,
        cache_read_tokens=min(cached_tokens or 0, prompt_tokens),
    )
    try:
        price = genai_prices.calc_price(usage, model, provider_id=seller)
    except (LookupError, ValueError):
        return None
    return round(price.total_price * 1_000_000)
