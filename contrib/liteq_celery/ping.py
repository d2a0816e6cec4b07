"""`celery.ping`: tests import it from `celery.contrib.testing.tasks`, so that their worker has it."""

from __future__ import annotations

from liteq.app import shared_task

__all__ = ["ping"]


@shared_task(name="celery.ping")
def ping() -> str:
    """Answer."""
    return "pong"
