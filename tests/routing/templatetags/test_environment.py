"""The label in the header of every page."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from routing.templatetags.environment import environment


@pytest.mark.parametrize(
    ("name", "red"),
    [("production", True), ("Prod EU", True), ("live", True), ("staging", False), ("not production", False)],
)
def test_production_is_red(settings, name, red):
    settings.GATEWAY_ENVIRONMENT = name
    assert ("env-production" in environment()) is red
    assert f"</span>{name}</span>" in environment()


def test_without_a_name_there_is_no_label(settings):
    settings.GATEWAY_ENVIRONMENT = ""
    assert environment() == ""


def test_a_name_is_text_and_no_markup(settings):
    settings.GATEWAY_ENVIRONMENT = "<b>"
    assert "<b>" not in environment()


@pytest.mark.django_db
def test_dashboard_and_admin_show_it_on_every_page(settings):
    settings.GATEWAY_ENVIRONMENT = "production"
    client = Client()
    client.force_login(User.objects.create_superuser("root", "", "root"))
    pages = ["/dashboard/", "/dashboard/try/", "/dashboard/changes/", "/admin/", "/admin/routing/provider/"]
    assert [page for page in pages if b"env-production" not in client.get(page).content] == []
    assert b"env-production" in Client().get("/admin/login/").content
