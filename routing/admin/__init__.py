"""Django admin for the tables of routing: every write goes through ``routing.services``."""

from routing.admin import pages

__all__ = ["pages"]
