"""How a provider is addressed: its URLs and its credential, and how both are taken out of texts. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

from routing.addresses import leads_to_deployments
from routing.kinds import KINDS, Kind
from routing.types import Endpoint, Provider

_REDACTED: Final = "[redacted]"
_SHORTEST_SECRET: Final = 4
_SHORTEST_PART: Final = 12
REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")
# The shapes of vendors' keys, masked ones ("sk-ab***yz") included.
_KEY_SHAPES: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk)-[\w*.-]{6,}|(?:gsk|csk|nvapi|fw|pplx|tgp|hf)[_-][\w*]{12,}"
    r"|xai-[\w*]{20,}|AIza[\w*-]{10,}"
    r"|(?-i:(?:AKIA|ASIA)[A-Z0-9]{16}|ABSK[\w+/=]{20,}))|(?<=Bearer )[\w*.~+/=-]{4,}",
    re.IGNORECASE,
)


def kind_of(provider: Provider) -> Kind:
    """The row of the provider's kind; of an unknown one that of any OpenAI-compatible vendor."""
    return KINDS.get(provider.kind, KINDS["openai_compatible"])


def speaks(provider: Provider, endpoint: Endpoint) -> bool:
    """Whether the provider takes an endpoint's requests as they are; what it does not is translated.

    Of Responses the option ``responses`` (``native`` or ``translated``) has the last word where the wire has
    them at all; an address of single models, as Azure's deployments have, has none.
    """
    kind = kind_of(provider)
    if endpoint is Endpoint.RESPONSES and kind.wire == "openai":
        wish = provider.options.get("responses")
        if wish:
            return wish == "native"
        return endpoint in kind.endpoints and not leads_to_deployments(kind, provider.base_url)
    return endpoint in kind.endpoints


def url(provider: Provider, path: str, model: str = "") -> str:
    """The address of a path below the base URL, which may hold ``{model}`` as Azure's deployments need."""
    base = provider.base_url or kind_of(provider).default_base_url
    return _url(base, path, model, provider.options.get("api_version"))


@lru_cache(maxsize=4096)
def _url(base: str, path: str, model: str, version: str | None) -> str:
    query = f"?api-version={quote(version, safe='')}" if version else ""
    return base.rstrip("/").replace("{model}", quote(model, safe="")) + path + query


def account_headers(provider: Provider) -> dict[str, str]:
    """The credential as the kind's row says, and the options that name an account; nothing without them."""
    headers = {
        f"openai-{option}": provider.options[option]
        for option in ("organization", "project")
        if provider.options.get(option)
    }
    kind = kind_of(provider)
    if provider.api_key and not (kind.signs_for and _is_access_key(provider.api_key)):
        scheme = f"{kind.auth_scheme} " if kind.auth_scheme else ""
        headers[kind.auth_header] = scheme + provider.api_key.strip()
    return headers


def access_key(provider: Provider) -> tuple[str, ...] | None:
    """The parts of a credential with which requests are signed; None for one that is sent as it is."""
    key = (provider.api_key or "").strip()
    return tuple(key.split(":")) if kind_of(provider).signs_for and _is_access_key(key) else None


def region(provider: Provider) -> str:
    """The provider's region: its option, else as its host says (``service.us-east-1.example``), or empty."""
    return provider.options.get("region", "") or _region_in(provider.base_url)


def scrub(text: str, api_key: str | None, base_url: str) -> str:
    """Take the provider's key, its address and everything of a key's shape out of a text for clients."""
    own = _own_secrets(api_key or "", base_url)
    if own is not None:
        text = own.sub(_REDACTED, text)
    return _KEY_SHAPES.sub(_REDACTED, text)


@lru_cache(maxsize=256)
def _own_secrets(api_key: str, base_url: str) -> re.Pattern[str] | None:
    """What finds a provider's key and address in a text, as they are and as they stand in a URL's query.

    Letters of an address may be of any case, and its host may stand without its port.
    """
    address = urlsplit(base_url)
    keys = [api_key, *(part for part in api_key.split(":") if len(part) >= _SHORTEST_PART)]
    places = [base_url.rstrip("/"), f"{address.scheme}://{address.netloc}", address.netloc]
    plain = [re.escape(key) for key in keys if len(key) >= _SHORTEST_SECRET]
    found = [place for place in places if len(place) >= _SHORTEST_SECRET]
    written = {quote(text, safe=safe, errors="replace") for text in (*keys, *found) for safe in ("", "/")}
    found += [text for text in written if "%" in text and len(text) >= _SHORTEST_SECRET]
    folded = [re.escape(text) for text in sorted(found, key=len, reverse=True)]
    host = address.hostname or ""
    if "." in host:  # a name of one word may be any word of a sentence
        folded.append(rf"(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)")
    alternatives = [*plain, *(f"(?i:{one})" for one in folded)]
    return re.compile("|".join(alternatives)) if alternatives else None


@lru_cache(maxsize=256)
def _region_in(base_url: str) -> str:
    labels = (urlsplit(base_url).hostname or "").split(".")
    return next((label for label in labels if REGION.fullmatch(label)), "")


def _is_access_key(key: str) -> bool:
    return ":" in key
