"""The gateway's settings, with everything that a demo keeps under ``DEMO_HOME``."""

import os
from pathlib import Path

VAR_DIR = Path(os.environ["DEMO_HOME"])
os.environ["DATABASE_URL"] = f"sqlite:///{VAR_DIR}/demo.sqlite3"
os.environ["CACHE_URL"] = ""

from gateway_project.settings import *  # noqa: E402, F403 - after the environment is in order

VAR_DIR = Path(os.environ["DEMO_HOME"])  # again: ours, not that of the checkout
STATIC_ROOT = VAR_DIR / "static"
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").is_file()
