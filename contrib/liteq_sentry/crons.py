"""Entries of beat as cron monitors: "in progress" when one is sent, "ok" or "error" when its task has ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sentry_sdk.crons import MonitorStatus, capture_checkin

from liteq.schedules import BaseSchedule, crontab, schedule

__all__ = ["SLUG", "begun", "ended", "headers_of_run", "monitor_config"]

logger = logging.getLogger("liteq.observers")

# The names that Sentry's integration of Celery has for them: a worker under either can tell the end.
SLUG, CHECK_IN = "sentry-monitor-slug", "sentry-monitor-check-in-id"
CONFIG, BEGUN = "sentry-monitor-config", "sentry-monitor-start-timestamp-s"
UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))

_told: set[str] = set()


def monitor_config(name: str, when: BaseSchedule) -> dict[str, Any] | None:
    """The schedule of an entry in Sentry's words; None, which is logged once, for one that it does not know."""
    if isinstance(when, crontab):
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        text = " ".join(_text(getattr(when, f"_orig_{field}")) for field in fields)
        return {"schedule": {"type": "crontab", "value": text}, "timezone": str(when.tz)}
    if isinstance(when, schedule):
        for unit, seconds in UNITS:
            if when.seconds and when.seconds % seconds == 0:
                every = {"type": "interval", "value": int(when.seconds // seconds), "unit": unit}
                return {"schedule": every, "timezone": str(when.tz)}
    if name not in _told:
        _told.add(name)
        logger.warning("the entry %s is no cron monitor: Sentry takes whole minutes and crontabs, not %r", name, when)
    return None


def _text(field: Any) -> str:
    """A field of a crontab, which may be several numbers, as cron has it."""
    return ",".join(map(str, field)) if isinstance(field, list) else str(field)


def headers_of_run(name: str, when: BaseSchedule, now_s: float) -> dict[str, Any]:
    """The headers with which the task of an entry tells its end; {} where it is no monitor."""
    config = monitor_config(name, when)
    if config is None:
        return {}
    return {SLUG: name, CHECK_IN: uuid4().hex, CONFIG: config, BEGUN: f"{now_s:.9f}"}


def begun(headers: Mapping[str, Any]) -> None:
    """Tell that an entry was sent, with these headers."""
    capture_checkin(
        monitor_slug=headers[SLUG], check_in_id=headers[CHECK_IN], monitor_config=headers[CONFIG],
        status=MonitorStatus.IN_PROGRESS,
    )  # fmt: skip


def ended(headers: Mapping[str, Any], now_s: float, *, well: bool) -> None:
    """Tell the end of a task that an entry has sent."""
    if SLUG not in headers:
        return
    begun_s = headers.get(BEGUN)
    capture_checkin(
        monitor_slug=headers[SLUG],
        check_in_id=headers.get(CHECK_IN),
        monitor_config=headers.get(CONFIG),
        duration=None if begun_s is None else now_s - float(begun_s),
        status=MonitorStatus.OK if well else MonitorStatus.ERROR,
    )
