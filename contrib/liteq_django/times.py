"""Times of the queue's file as Django has them. Without Django's tasks, which Django 5.2 does not bring."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone

from liteq.clock import from_ms

__all__ = ["moment", "moment_or_none"]


def moment(ms: int) -> datetime:
    """A time of the file as Django has it: aware, or with USE_TZ = False naive."""
    aware = from_ms(ms)
    return aware if settings.USE_TZ else timezone.make_naive(aware)


def moment_or_none(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)
