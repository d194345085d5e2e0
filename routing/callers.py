"""What a client key and a request's own words say together of its caller. Pure."""

from __future__ import annotations

from typing import Final

LONGEST_USER_PATH: Final = 300


def user_path(of_key: str, asked: str) -> str:
    """The key's own path wins; a header may extend it, or set it where the key has none."""
    asked = asked.strip().rstrip("/")
    parts = asked.split("/")
    well_formed = (
        asked.startswith("/")
        and len(asked) <= LONGEST_USER_PATH
        and asked.isprintable()
        and not {"", ".", ".."} & set(parts[1:])
    )
    if not well_formed:
        return of_key
    base = of_key.rstrip("/")
    return asked if asked == base or asked.startswith(base + "/") else of_key
