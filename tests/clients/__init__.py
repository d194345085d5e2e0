"""Other people's clients against the running gateway: ``make conformance``, not ``make test``."""
