"""An app whose workers hear of no process that dies, as those of Celery 5.5 once they have connected anew."""

from __future__ import annotations

from app_of_shop import app
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

import liteq_kombu.holder

__all__ = ["app"]

liteq_kombu.holder.FORGOTTEN_S = 0.2
on_failure = Request.on_failure


def unless_lost(self: Request, exc_info, *args, **options) -> None:
    error = exc_info.exception
    if not isinstance(getattr(error, "exc", error), WorkerLostError):
        on_failure(self, exc_info, *args, **options)


Request.on_failure = unless_lost
