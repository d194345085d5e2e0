"""The API over request records."""
