"""Names of static files: hashed once they were collected, plain while they are served from where they lie."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedWhenCollected(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it ships no types
    """A checkout runs without ``collectstatic``; what it collected is served compressed and for ever."""

    def stored_name(self, name: str) -> str:
        """The hashed name; before the first ``collectstatic`` the name itself."""
        if not self.hashed_files:
            return name
        return str(super().stored_name(name))
