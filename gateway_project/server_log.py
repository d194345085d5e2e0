"""How gunicorn's own lines look: like all others where the log is read by machines."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from gunicorn.glogging import Logger

from proxying import logs


class ServerLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Starts, stops and deaths of workers as JSON lines, unless ``GATEWAY_LOG_FORMAT`` is ``text``."""

    def setup(self, cfg: Any) -> None:
        """Give gunicorn's handlers the house's format.

        Not by ``logconfig_dict``: that turns the log of accesses on, too, a line more for every request.
        """
        super().setup(cfg)
        if settings.GATEWAY_LOG_FORMAT == "json":
            for handler in self.error_log.handlers:
                handler.setFormatter(logs.formatter("json"))
