"""Signs requests for kinds whose access keys are never sent: AWS's Signature Version 4, by AWS's own library.

The library is optional (``requirements/bedrock.txt``). It is imported with the first provider that needs it,
in the thread that loads the table: no other gateway pays for it, and no request waits for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from routing.upstreams import access_key, kind_of, region

if TYPE_CHECKING:
    from routing.sigv4 import Signer
    from routing.types import Provider

PACKAGE: Final = "botocore"
INSTALL_HINT: Final = f"Install {PACKAGE}: pip install --require-hashes -r requirements/bedrock.txt"


def problem(provider: Provider) -> str:
    """Why requests of a provider cannot be signed, for operators; empty when they can or need not be."""
    key = access_key(provider)
    if key is None:
        return ""
    if len(key) > 3 or not all(key):
        return "An access key has the form ACCESS_KEY_ID:SECRET or ACCESS_KEY_ID:SECRET:SESSION_TOKEN."
    if not region(provider):
        return "An access key signs for a region: set the option region, such as us-east-1."
    try:
        _signer(key, kind_of(provider).signs_for, region(provider))
    except ImportError:
        return f"Requests with an access key are signed, and the package for it is missing. {INSTALL_HINT}"
    return ""


def sign(provider: Provider, method: str, url: str, headers: dict[str, str], body: bytes) -> None:
    """Put the signature into ``headers``, where the provider's credential is an access key.

    Of what is there only ``content-type`` is signed: proxies on the way may change the others.
    """
    key = access_key(provider)
    if key is not None:
        signer = _signer(key, kind_of(provider).signs_for, region(provider))
        headers.update(signer.sign(method, url, headers.get("content-type", ""), body))


@lru_cache(maxsize=64)
def _signer(key: tuple[str, ...], service: str, where: str) -> Signer:
    from routing.sigv4 import Signer  # noqa: PLC0415 - its library is optional, and 10 MB: where it is needed

    return Signer(key, service, where)
