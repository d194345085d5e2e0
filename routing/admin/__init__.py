"""Django admin for the tables of routing: every write goes through ``routing.services``."""

from django.contrib import admin

from routing.admin import access, history, pages, pools, providers

__all__ = ["access", "history", "pages", "pools", "providers"]

admin.site.site_header = admin.site.site_title = "Sluice"
admin.site.index_title = "Configuration"
admin.site.site_url = "/dashboard/"
