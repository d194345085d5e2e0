"""Every write of the configuration: one function per operator action, one transaction, one revision.

All take, by keyword, ``actor``, ``source`` and what else ``How`` lists; all raise ``ServiceError``.
"""

from routing.discovery import ProbeResult
from routing.services.access import (
    create_admin_token,
    create_client_key,
    revoke_admin_token,
    revoke_client_key,
    update_admin_token,
    update_client_key,
)
from routing.services.documents import Applied, apply_document, revert_revision
from routing.services.errors import Conflict, Invalid, NotFound, ServiceError, WouldEmptyPool
from routing.services.pools import (
    delete_alias,
    delete_pool,
    save_alias,
    save_defaults,
    save_pool,
)
from routing.services.providers import (
    delete_provider,
    record_probe,
    rotate_encryption,
    save_provider,
)
from routing.services.switches import (
    SwitchKind,
    SwitchResult,
    SwitchTarget,
    clear_switch,
    expire_due_switches,
    set_switch,
    switch_key,
)
from routing.services.writing import SYSTEM, Actor, Confirm, How

__all__ = [
    "SYSTEM",
    "Actor",
    "Applied",
    "Confirm",
    "Conflict",
    "How",
    "Invalid",
    "NotFound",
    "ProbeResult",
    "ServiceError",
    "SwitchKind",
    "SwitchResult",
    "SwitchTarget",
    "WouldEmptyPool",
    "apply_document",
    "clear_switch",
    "create_admin_token",
    "create_client_key",
    "delete_alias",
    "delete_pool",
    "delete_provider",
    "expire_due_switches",
    "record_probe",
    "revert_revision",
    "revoke_admin_token",
    "revoke_client_key",
    "rotate_encryption",
    "save_alias",
    "save_defaults",
    "save_pool",
    "save_provider",
    "set_switch",
    "switch_key",
    "update_admin_token",
    "update_client_key",
]
