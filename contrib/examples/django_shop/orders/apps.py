"""The Django app `orders`."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["OrdersConfig"]


class OrdersConfig(AppConfig):
    name = "orders"
