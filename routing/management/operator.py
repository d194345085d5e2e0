"""Who runs a command, for the revisions that it writes, and what he is told when it is refused."""

from __future__ import annotations

import getpass

from routing.services import Actor, ServiceError


def operator() -> Actor:
    """The user of the operating system; a container may have a number without a name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "command line"
    return Actor(name, "command")


def named(error: ServiceError) -> str:
    """A refusal that says which value it is about."""
    return f"{error.param}: {error.message}" if error.param else error.message
