"""Client keys and admin tokens: made and shown once, changed, revoked."""

from __future__ import annotations

from typing import Any, Final, TypeVar, Unpack

from routing import keys, refusals
from routing.models import AdminToken, ClientKey
from routing.services.errors import Invalid, NotFound
from routing.services.fields import Values, lay, save
from routing.services.writing import How, write

CLIENT_KEY_COLUMNS: Final = ("name", "user_path", "models", "enabled", "expires_at")
ADMIN_TOKEN_COLUMNS: Final = ("name", "read_only", "enabled", "expires_at")
KeyRow = TypeVar("KeyRow", ClientKey, AdminToken)


def create_client_key(*, values: Values, **how: Unpack[How]) -> tuple[ClientKey, str]:
    """Make a key for ``/v1``; the second value is the key itself, which nobody can read again.

    ``values`` has ``name`` and perhaps ``user_path``, ``models`` (patterns), ``enabled`` and ``expires_at``.
    """
    made = keys.make_client_key()
    row = ClientKey(prefix=made.prefix, digest=made.digest, created_by=how["actor"].name[:150])
    with write(**how):
        put_client_key(row, values)
    return row, made.secret


def update_client_key(*, key_id: int, values: Values, **how: Unpack[How]) -> ClientKey:
    """Change what ``values`` has."""
    with write(**how):
        return put_client_key(_get(ClientKey, key_id), values)


def revoke_client_key(*, key_id: int, **how: Unpack[How]) -> ClientKey:
    """Refuse the key from now on; its row stays, so that records keep their owner."""
    return update_client_key(key_id=key_id, values={"enabled": False}, **how)


def create_admin_token(*, values: Values, **how: Unpack[How]) -> tuple[AdminToken, str]:
    """Make a token for ``/admin``; the second value is the token itself, which nobody can read again."""
    made = keys.make_admin_token()
    row = AdminToken(prefix=made.prefix, digest=made.digest, created_by=how["actor"].name[:150])
    with write(**how):
        put_admin_token(row, values)
    return row, made.secret


def update_admin_token(*, token_id: int, values: Values, **how: Unpack[How]) -> AdminToken:
    """Change what ``values`` has."""
    with write(**how):
        return put_admin_token(_get(AdminToken, token_id), values)


def revoke_admin_token(*, token_id: int, **how: Unpack[How]) -> AdminToken:
    """Refuse the token from now on."""
    return update_admin_token(token_id=token_id, values={"enabled": False}, **how)


def put_client_key(row: ClientKey, values: Values) -> ClientKey:
    """Lay values over a client key, inside a write."""
    lay(row, values, CLIENT_KEY_COLUMNS)
    if refusals.names(row.models) or any("*" in name[:-1] for name in row.models):
        raise Invalid("A list of names; a * may stand at the end of one.", param="models")
    row.user_path = user_path(row.user_path)
    save(row)
    return row


def put_admin_token(row: AdminToken, values: Values) -> AdminToken:
    """Lay values over an admin token, inside a write."""
    lay(row, values, ADMIN_TOKEN_COLUMNS)
    save(row)
    return row


def user_path(text: str) -> str:
    """The path as it is compared: one slash at the beginning, none at the end.

    Raises:
        Invalid: empty parts, white space or control characters in it.
    """
    parts = text.strip().strip("/").split("/")
    if parts == [""]:
        return ""
    if any(not part or not part.isprintable() or part != part.strip() for part in parts):
        raise Invalid("A user path looks like /team/a.", param="user_path")
    return "/" + "/".join(parts)


def get_client_key(key_id: int) -> ClientKey:
    """The key with this id.

    Raises:
        NotFound: there is none.
    """
    return _get(ClientKey, key_id)


def get_admin_token(token_id: int) -> AdminToken:
    """The token with this id.

    Raises:
        NotFound: there is none.
    """
    return _get(AdminToken, token_id)


def _get(table: type[KeyRow], key_id: Any) -> KeyRow:
    row = table._default_manager.filter(pk=key_id).first()
    if row is None:
        raise NotFound(f"There is no {table._meta.verbose_name} {key_id}.", code="key_not_found")
    return row
