"""What an operator can do about an error that the gateway answered, by its code. Pure."""

from __future__ import annotations

from typing import Final

_BY_CODE: Final = {
    "no_eligible_candidates": "Every candidate is blocked; the reasons stand beside each of them. "
    "Switch one on, or wait for the soonest recovery.",
    "model_not_found": "No pool, alias or provider has this name. Look for a typing error, "
    "or add the pool in the admin.",
    "model_disabled": "The pool is switched off. Enable it on the Pools page.",
    "provider_disabled": "The provider is switched off. Enable it on the Providers page.",
    "provider_not_found": "No provider has this name. Look for a typing error.",
    "model_not_allowed": "The client key may not use this model. Choose another key, "
    "or change the key's models in the admin.",
    "unsupported_endpoint": "No candidate's provider can serve chats. Add one that can, "
    "or use the model's own endpoint.",
    "provider_busy": "Every provider is at its limit of requests in flight. Try again, "
    "or raise the limit in the admin.",
    "upstream_unreachable": "No connection to the provider. Check its base URL in the admin and the network "
    "from this machine; Test now on the Providers page asks again.",
    "upstream_timeout": "The provider was too slow. Its timeouts are in the admin.",
    "upstream_protocol_error": "The provider's answer could not be used. "
    "Check that its base URL and kind fit together.",
    "upstream_auth_error": "The provider refused the gateway's key. Set a new one in the admin.",
    "request_too_large": "The request is larger than GATEWAY_MAX_BODY_BYTES.",
    "internal_error": "The gateway failed. Its log has the traceback, under the request id.",
}


_BROKE_OFF: Final = frozenset({"upstream_protocol_error", "upstream_unreachable"})


def advice(code: str, *, attempts: int, cut: bool = False) -> str:
    """One or two sentences; ``attempts`` is how many providers were called, ``cut`` an answer that began."""
    if cut and code in _BROKE_OFF:
        return (
            "The provider broke off when its answer had begun: too late for another candidate. "
            "A client gets an error at the end of its stream."
        )
    known = _BY_CODE.get(code)
    if known is not None:
        return known
    if attempts:
        return "This is the provider's own answer; its message says what it minds."
    return "The request was refused before a provider was called; the message says why."
