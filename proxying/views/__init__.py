"""The client-facing endpoints."""
