"""What Bedrock says when something is wrong, as facts: status, code, whether the credential is refused. Pure.

https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from proxying import retry_after
from proxying.errors import ErrorFacts, canonical_type, normalised_status

# By exception, the status that clients and policies see, and the code that OpenAI's clients know for it.
# Where the model itself failed Bedrock answers 424 or 408, which say nothing to anybody: 502 and 504 do.
_EXCEPTIONS: Final[Mapping[str, tuple[int, str]]] = {
    "validationexception": (400, ""),
    "accessdeniedexception": (403, "access_denied"),
    "resourcenotfoundexception": (404, "model_not_found"),
    "modeltimeoutexception": (504, "timeout"),
    "modelerrorexception": (502, "model_error"),
    "modelstreamerrorexception": (502, "model_error"),
    "throttlingexception": (429, "rate_limit_exceeded"),
    "toomanyrequestsexception": (429, "rate_limit_exceeded"),
    "servicequotaexceededexception": (429, "rate_limit_exceeded"),
    "modelnotreadyexception": (429, "model_not_ready"),
    "internalserverexception": (500, ""),
    "internalfailure": (500, ""),
    "serviceunavailableexception": (503, "overloaded"),
    "serviceunavailable": (503, "overloaded"),
}
# The signature, the session token or the account itself is refused: the gateway's affair, not the client's.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html
_CREDENTIAL_TYPES: Final = frozenset(
    {
        "unrecognizedclientexception",
        "expiredtokenexception",
        "expiredtoken",
        "requestexpired",
        "invalidclienttokenid",
        "invalidsignatureexception",
        "signaturedoesnotmatch",
        "incompletesignature",
        "incompletesignatureexception",
        "missingauthenticationtoken",
        "missingauthenticationtokenexception",
        "notauthorized",
        "optinrequired",
        "subscriptionrequiredexception",
    }
)
# The same in words: a proxy may have taken the header with the type away, and Bedrock's API keys have none.
_CREDENTIAL_SENTENCES: Final = (
    "the security token included in the request is",
    "authentication failed: please make sure your api key is valid",
    "the request signature we calculated does not match",
    "signature expired",
    "signature not yet current",
)
_TOO_LONG: Final = (
    "input is too long",
    "input tokens exceeded",
    "prompt is too long",
    "too many input tokens",
    "exceeds maximum length",
    "maximum context length",
)
_NO_SUCH_MODEL: Final = (
    "the provided model identifier is invalid",
    "with on-demand throughput isn't supported",
    "with on-demand throughput isn’t supported",  # noqa: RUF001 - as Bedrock spells it
)
_LONGEST_MESSAGE: Final = 4000


def read_error(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ErrorFacts:
    """Read a non-2xx answer. Never raises. The exception's name is in a header, or in the body."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = None
    data = payload if isinstance(payload, dict) else {}
    named = headers.get("x-amzn-errortype") or data.get("__type") or data.get("code")
    facts = _facts(status, named, data)
    return replace(facts, retry_after_s=retry_after.from_headers(headers, now))


def read_exception(name: str, data: dict[str, Any]) -> ErrorFacts:
    """Read an exception that came inside a stream."""
    return replace(_facts(500, name, data), raw_status=200)


def _facts(raw_status: int, named: Any, data: dict[str, Any]) -> ErrorFacts:
    name = _plain(named)
    kind = name.lower()
    status, code = _EXCEPTIONS.get(kind, (normalised_status(raw_status), ""))
    message = _message(data)
    said = message.lower()
    original = data.get("originalStatusCode")
    if kind in {"modelerrorexception", "modelstreamerrorexception"} and original in _TELLING:
        status = original
    refused = kind in _CREDENTIAL_TYPES or raw_status == 401 or said.startswith(_CREDENTIAL_SENTENCES)
    if status == 400 and any(words in said for words in _TOO_LONG):
        code = "context_length_exceeded"
    elif status == 400 and any(words in said for words in _NO_SUCH_MODEL):
        status, code = 404, "model_not_found"
    return ErrorFacts(
        status=status,
        raw_status=raw_status,
        type=canonical_type(status),
        code=code or name or None,
        message=message or f"The provider answered with status {raw_status} and no readable error.",
        refused_credential=refused,
    )


# What the model said itself, where it says more than that it failed.
_TELLING: Final = (400, 413, 422, 429, 503)


def _plain(named: Any) -> str:
    """``SomeException`` out of ``SomeException:http://…`` or ``com.amazon…#SomeException``."""
    return named.partition(":")[0].rpartition("#")[2].strip()[:100] if isinstance(named, str) else ""


def _message(data: dict[str, Any]) -> str:
    for key in ("message", "Message", "originalMessage"):
        text = data.get(key)
        if isinstance(text, str) and text:
            return text[:_LONGEST_MESSAGE]
    return ""
