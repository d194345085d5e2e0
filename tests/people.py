"""Who the tests are: Ada operates, Ben looks, Mallory has no business here."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def operator() -> User:
    """May look at everything, and change everything of routing."""
    user = User.objects.create_user("ada", password="ada", is_staff=True)
    look(user)
    user.user_permissions.add(*Permission.objects.filter(content_type__app_label="routing"))
    return user


def reader() -> User:
    """May look at everything, and change nothing."""
    user = User.objects.create_user("ben", password="ben", is_staff=True)
    look(user)
    return user


def look(user: User, *also: str) -> None:
    """Let a user see everything of routing and the records, and do what else is named."""
    wanted = Permission.objects.filter(content_type__app_label__in=["routing", "proxying"])
    user.user_permissions.set(
        [one for one in wanted if one.codename.startswith("view_") or one.codename in also]
    )


def signed_in(user: User) -> Client:
    """A browser of this user's."""
    client = Client()
    client.force_login(user)
    return client
