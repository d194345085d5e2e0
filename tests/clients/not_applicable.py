"""Which tests of foreign suites do not apply, and why. A test that skips itself and is not here fails."""

from __future__ import annotations

# By client: tests that skip themselves, by the suite's own feature flags.
SKIPPED: dict[str, dict[str, str]] = {
    "langchain-anthropic": {
        "test_audio_inputs": "Anthropic's dialect has no sound",
        "test_stream_time": "measures with recordings of the suite's own",
    },
    "langchain-openai resp.": {
        "test_anthropic_inputs": "the client does not take Anthropic's blocks",
        "test_audio_inputs": "Responses have no sound",
        "test_stream_time": "measures with recordings of the suite's own",
    },
    "langchain-openai": {
        "test_anthropic_inputs": "the client does not take Anthropic's blocks",
        "test_image_tool_message": "chat completions have no pictures in the results of tools",
        "test_pdf_tool_message": "chat completions have no documents in the results of tools",
        "test_stream_time": "measures with recordings of the suite's own",
    },
}
# By client, wire and test: what the wire cannot say, so that the gateway asks the pool's next candidate.
ELSEWHERE: dict[tuple[str, str, str], str] = {
    (
        "langchain-openai",
        "anthropic",
        "test_audio_inputs",
    ): "Anthropic does not hear; the next candidate does",
    **{
        (client, "bedrock", "test_image_inputs"): "Bedrock fetches no picture; the next candidate does"
        for client in ("langchain-anthropic", "langchain-openai", "langchain-openai resp.")
    },
}
