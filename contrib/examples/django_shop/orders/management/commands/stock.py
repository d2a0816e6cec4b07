"""`manage.py stock`: goods for an empty shop, and somebody who may look into the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from orders.models import Product

GOODS = (
    ("Teapot", "24.90", 100),
    ("Cup, blue", "8.50", 200),
    ("Green tea", "6.20", 500),
    ("Last honey", "9.00", 1),
)


class Command(BaseCommand):
    help = "Goods for an empty shop, and the user admin with the password admin."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for name, price, stock in GOODS:
            Product.objects.get_or_create(name=name, defaults={"price": price, "stock": stock})
        users = get_user_model().objects
        if not users.filter(username="admin").exists():
            users.create_superuser("admin", "admin@example.org", "admin")  # for this machine alone
        self.stdout.write("/admin/: admin, password admin")
