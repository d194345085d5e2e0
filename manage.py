#!/usr/bin/env python
"""Django's command line, for the gateway's settings."""

import os
import sys


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")  # noqa: TID251 - Django reads it here
    from django.conf import settings  # noqa: PLC0415 - after the settings are named
    from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
    from django.core.management import execute_from_command_line  # noqa: PLC0415
    from django.db import OperationalError  # noqa: PLC0415

    try:
        _ = settings.DEBUG  # the first look reads them all
    except ImproperlyConfigured as problem:
        sys.exit(f"Wrong setting: {problem} See docs/settings.md.")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as problem:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"The database cannot be used; see DATABASE_URL. It says: {problem}")


if __name__ == "__main__":
    main()
