"""Celery on a liteq file: a transport for kombu and a result backend, for apps that keep Celery.

    broker_url = "liteq:////var/lib/shop/tasks.db"
    result_backend = "liteq:////var/lib/shop/tasks.db"

Celery finds both by entry points. A program that uses kombu alone imports this package first.
"""

from liteq_kombu.alias import SERIALIZER

__all__ = ["SERIALIZER"]
