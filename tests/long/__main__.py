"""``python -m tests.long --minutes 10``: chaos, and its report."""

import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from tests.long import chaos  # noqa: E402 - it needs Django's settings

sys.exit(chaos.main())
