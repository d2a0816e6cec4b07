"""When something is due: `crontab`, `schedule`, `solar`. Pure; the names are Celery's.

A schedule answers one question, `next_after(moment)`: the first time after `moment` at which it is due. What Celery's
users know, `is_due(last_run_at)` and `remaining_estimate(last_run_at)`, is made of that.
"""

from __future__ import annotations

from liteq.schedules.base import BaseSchedule, NeverDue, schedstate
from liteq.schedules.cron import crontab
from liteq.schedules.documents import from_document, to_document
from liteq.schedules.fields import ParseException, crontab_parser
from liteq.schedules.interval import maybe_schedule, schedule
from liteq.schedules.sun import solar

__all__ = [
    "BaseSchedule",
    "NeverDue",
    "ParseException",
    "crontab",
    "crontab_parser",
    "from_document",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
    "to_document",
]
