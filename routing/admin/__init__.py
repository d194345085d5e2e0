"""Django admin for the tables of routing: every write goes through ``routing.services``."""

from routing.admin import access, history, pages

__all__ = ["access", "history", "pages"]
