"""`manage.py liteq import_beat`: the periodic tasks of django-celery-beat, as schedules of liteq.

The tables are read as they are: the package need not be installed any more. Nothing in them is changed, and an entry
keeps its name, so the command may be repeated.

    interval, crontab, solar    a schedule; crontab in its own time zone
    clocked, one-off            a task that is sent once, at its time
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connections
from django.utils import timezone

from liteq.app.schedules import due_ms, run_id
from liteq.clock import from_ms, to_ms
from liteq.exceptions import LiteqError
from liteq.schedules import BaseSchedule, crontab, schedule, solar
from liteq_django.project import default_app

__all__ = ["Imported", "command", "import_beat"]

PREFIX = "django_celery_beat_"
BACKEND_CLEANUP = "celery.backend_cleanup"  # results expire by themselves here


@dataclass(frozen=True)
class Imported:
    """The outcome for one entry: "imported", "paused", "sent once" or "left out", and why."""

    name: str
    outcome: str
    note: str = ""


def import_beat(using: str = "default", *, dry_run: bool = False) -> Iterator[Imported]:
    """Import every PeriodicTask of the database `using`, and say what became of each."""
    tables = {name: _rows(using, PREFIX + name) for name in ("intervalschedule", "crontabschedule", "solarschedule")}
    tables["clockedschedule"] = _rows(using, PREFIX + "clockedschedule")
    by_id = {name: {row["id"]: row for row in rows} for name, rows in tables.items()}
    for row in _rows(using, PREFIX + "periodictask"):
        try:
            yield _import(row, by_id, dry_run=dry_run)
        except (LiteqError, ValueError, TypeError, KeyError) as exc:
            yield Imported(row["name"], "left out", str(exc))


def _rows(using: str, table: str) -> list[dict[str, Any]]:
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} ORDER BY id")  # noqa: S608 - names of ours
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _import(row: Mapping[str, Any], by_id: Mapping[str, Any], *, dry_run: bool) -> Imported:
    name, app = row["name"], default_app()
    if row["task"] == BACKEND_CLEANUP:
        return Imported(name, "left out", "results expire by themselves")
    if row.get("clocked_id"):
        return _once(row, _time(by_id["clockedschedule"][row["clocked_id"]]["clocked_time"]), dry_run=dry_run)
    when = _schedule(row, by_id)
    when.app = app
    if row["one_off"]:
        next_ms = due_ms(when, from_ms(app.clock.now_ms()))
        if next_ms is None:
            return Imported(name, "left out", "it never comes due")
        return _once(row, from_ms(next_ms), dry_run=dry_run, id_of_ms=0)
    if not dry_run:
        args, kwargs = _json(row["args"], []), _json(row["kwargs"], {})
        app.schedules.add(name, when, row["task"], args, kwargs, enabled=bool(row["enabled"]), **_options(row))
    before = app.storage.schedules.find(name)
    if row["enabled"] and before is not None and not before.enabled:
        return Imported(name, "paused", "it is on there, and was paused here: `liteq schedules resume` lets it run")
    note = "start_time is not kept: it is due from now on" if row.get("start_time") else ""
    return Imported(name, "imported" if row["enabled"] else "paused", note)


def _once(row: Mapping[str, Any], at: datetime, *, dry_run: bool, id_of_ms: int | None = None) -> Imported:
    """Send it for its time, with an id that a repeated import has again."""
    if not row["enabled"]:
        return Imported(row["name"], "left out", "it is switched off, and would run once only")
    if row["total_run_count"]:
        return Imported(row["name"], "left out", "it has run")
    if not dry_run:
        default_app().send_task(
            row["task"], _json(row["args"], []), _json(row["kwargs"], {}),
            task_id=run_id(row["name"], to_ms(at) if id_of_ms is None else id_of_ms), eta=at, **_options(row),
        )  # fmt: skip
    return Imported(row["name"], "sent once", f"for {at.isoformat()}")


def _schedule(row: Mapping[str, Any], by_id: Mapping[str, Any]) -> BaseSchedule:
    if row.get("interval_id"):
        every = by_id["intervalschedule"][row["interval_id"]]
        return schedule(timedelta(**{every["period"]: every["every"]}))
    if row.get("crontab_id"):
        cron = by_id["crontabschedule"][row["crontab_id"]]
        fields = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        made = crontab(**{field: cron[field] for field in fields})
        made.zone = ZoneInfo(str(cron.get("timezone") or "UTC"))
        return made
    if row.get("solar_id"):
        sun = by_id["solarschedule"][row["solar_id"]]
        return solar(sun["event"], float(sun["latitude"]), float(sun["longitude"]))
    raise ValueError("it has no schedule")


def _options(row: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        name: row[name] for name in ("queue", "exchange", "routing_key", "priority") if row.get(name) not in {None, ""}
    }
    headers = _json(row.get("headers"), {})
    if headers:
        options["headers"] = headers
    if row.get("expire_seconds"):
        options["expires"] = row["expire_seconds"]
    elif row.get("expires"):
        options["expires"] = _time(row["expires"]).isoformat()
    return options


def _json(text: str | None, empty: Any) -> Any:
    return json.loads(text) if text else empty


def _time(value: Any) -> datetime:
    """A time as the database's driver gives it: SQLite's is text, in UTC."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return timezone.make_aware(at, ZoneInfo("UTC")) if timezone.is_naive(at) else at


def command(to: Any, args: list[str]) -> None:
    """`manage.py liteq import_beat [--dry-run] [--database ALIAS]`."""
    parser = ArgumentParser("manage.py liteq import_beat", description="The schedules of django-celery-beat, imported.")
    parser.add_argument("--dry-run", action="store_true", help="Show what would be imported, and write nothing.")
    parser.add_argument("--database", default="default", choices=list(connections), help="Where its tables are.")
    given = parser.parse_args(args)
    using, dry_run = given.database, given.dry_run
    if PREFIX + "periodictask" not in connections[using].introspection.table_names():
        to.stderr.write(f"the database {using!r} has no table {PREFIX}periodictask: name another with --database")
        raise SystemExit(1)
    done = list(import_beat(using, dry_run=dry_run))
    for one in done:
        to.stdout.write(f"{one.outcome:10} {one.name}" + (f"  ({one.note})" if one.note else ""))
    to.stdout.write(f"{len(done)} entries" + (", nothing was written" if dry_run else ""))
