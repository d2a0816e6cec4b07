"""The pages of the admin, asked for by a client of Django's."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client

BASE = "/admin/liteq_django/"


def client_with(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def staff(*codenames: str) -> Client:
    """A clerk with these permissions alone."""
    user = User.objects.create_user("clerk", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    return client_with(user)


def page(client: Client, path: str, **query: object) -> str:
    response = client.get(BASE + path, query)
    assert response.status_code == 200
    return response.content.decode()
