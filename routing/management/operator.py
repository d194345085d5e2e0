"""Who runs a command, for the revisions that it writes."""

from __future__ import annotations

import getpass

from routing.services import Actor


def operator() -> Actor:
    """The user of the operating system; a container may have a number without a name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "command line"
    return Actor(name, "command")
