"""How hard the long tests try: ``make long`` sets TEST_LONG, everything else runs the short form."""

import os

LONG = bool(os.environ.get("TEST_LONG"))
