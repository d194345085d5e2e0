"""The data plane's paths, one table for both doors."""

from __future__ import annotations

from proxying.fastlane import Routes
from proxying.views.health import health

FAST_ROUTES: Routes = {"/health": {"GET": health}}
