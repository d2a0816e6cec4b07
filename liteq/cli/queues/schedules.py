"""`liteq schedules`: the periodic tasks of the file, listed, paused, resumed, run out of turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from liteq.cli.group import Group
from liteq.cli.parts.asking import acting
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import unknown
from liteq.cli.parts.output import age, counted, emit, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.monitor.schedules import in_words, next_times
from liteq.serialization import decode
from liteq.storage.sending.periodic import ScheduleRecord
from liteq.utils.text import iso_time

__all__ = ["schedules"]


@click.group(cls=Group)
def schedules() -> None:
    """Periodic tasks: list, next, pause, resume, run, backfill. `liteq beat` sends them when they come due."""


@schedules.command("list")
@pass_session
def list_(session: Session, /) -> int:
    """List the schedules in the file: those of the configuration that beat has written there, and those added to it.

    \b
    JSON: [{"name", "task", "schedule", "overlap", "catch_up", "owner", "enabled", "next", "last", "last_id", "runs"}]
    """
    records = session.storage.schedules.all()
    now_ms = session.app.clock.now_ms()
    found = [_document(record) for record in records]

    def show() -> None:
        rows = [
            (
                one["name"], one["task"], _with_rules(one), _next(record, now_ms), age(now_ms, record.last_run_ms),
                record.total_run_count,
            )
            for one, record in zip(found, records, strict=True)
        ]  # fmt: skip
        empty = "no schedules in the file; `liteq beat` writes those of beat_schedule there when it starts"
        table(session, ("name", "task", "schedule", "next", "last", "runs"), rows, empty=empty)

    emit(session, found, show)
    return Exit.OK


@schedules.command("next")
@click.argument("name")
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="So many times.")
@pass_session
def next_(session: Session, /, name: str, count: int) -> int:
    """Show the next times at which NAME is due, in UTC.

    \b
    JSON: {"name", "enabled", "next": [times]}
    """
    record = _found(session, name)
    times = [time.isoformat(timespec="seconds") for time in next_times(record, count)] if record.enabled else []
    document = {"name": name, "enabled": record.enabled, "next": times}
    none = "never again" if record.enabled else "paused; `liteq schedules resume` lets it go on"
    emit(session, document, lambda: say("\n".join(times) or none))
    return Exit.OK


@schedules.command()
@click.argument("names", nargs=-1, required=True)
@acting
@pass_session
def pause(session: Session, /, names: tuple[str, ...]) -> int:
    """Let no run of NAMES begin until `resume`, also across restarts.

    \b
    JSON: {"paused": [names]}
    """
    return _each(session, names, "paused", session.app.schedules.pause)


@schedules.command()
@click.argument("names", nargs=-1, required=True)
@acting
@pass_session
def resume(session: Session, /, names: tuple[str, ...]) -> int:
    """Let NAMES run again, from their next time on; missed runs are not made up.

    \b
    JSON: {"resumed": [names]}
    """
    return _each(session, names, "resumed", session.app.schedules.resume)


@schedules.command()
@click.argument("name")
@acting
@pass_session
def run(session: Session, /, name: str) -> int:
    """Send a run of NAME at once, paused or not, and print its id. When it is due next stays as it was.

    \b
    JSON: {"name", "id"}
    """
    _found(session, name)
    session.import_commands()  # the routes, and the options of the task
    sent = session.app.schedules.run_now(name, by=session.actor())
    emit(session, {"name": name, "id": sent.id}, lambda: say(sent.id))
    return Exit.OK


@schedules.command()
@click.argument("name")
@click.argument("start")
@click.argument("end")
@pass_session
def backfill(session: Session, /, name: str, start: str, end: str) -> int:
    """Send a run of NAME for each of its times from START up to END (ISO dates; without a zone: UTC).

    A time for which a run was sent before is not sent again.

    \b
    JSON: {"name", "ids"}
    """
    _found(session, name)
    session.import_commands()  # the routes, and the options of the task
    try:
        first, last = (_moment(text) for text in (start, end))
        ids = [run.id for run in session.app.schedules.backfill(name, first, last)]
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    emit(session, {"name": name, "ids": ids}, lambda: say("\n".join(ids) or "no time of it is in between"))
    return Exit.OK


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _each(session: Session, names: tuple[str, ...], done: str, verb: Callable[..., None]) -> int:
    for name in names:  # all or none: a misspelt one is found before anything is changed
        _found(session, name)
    by = session.actor()
    for name in names:
        verb(name, by=by)
    what = f"{counted(len(names), 'schedule')} {done}: {', '.join(names)}"
    emit(session, {done: list(names)}, lambda: say(what))
    return Exit.OK


def _found(session: Session, name: str) -> ScheduleRecord:
    record: ScheduleRecord | None = session.storage.schedules.find(name)
    if record is None:
        raise unknown("schedule", name, [one.name for one in session.storage.schedules.all()])
    return record


def _document(record: ScheduleRecord) -> dict[str, Any]:
    signature = decode(record.signature)
    return {
        "name": record.name,
        "task": signature.get("task"),
        "schedule": in_words(record.schedule),
        "overlap": signature.get("overlap", "allow"),
        "catch_up": signature.get("catch_up"),
        "owner": record.owner or None,
        "enabled": record.enabled,
        "next": iso_time(record.next_due_ms) if record.enabled else None,
        "last": iso_time(record.last_run_ms),
        "last_id": record.last_id,
        "runs": record.total_run_count,
    }


def _next(record: ScheduleRecord, now_ms: int) -> str:
    if not record.enabled:
        return "paused"
    return "never" if record.next_due_ms is None else age(now_ms, record.next_due_ms)


def _with_rules(one: dict[str, Any]) -> str:
    """The schedule in words, with the rules of an entry that has some."""
    overlap = "" if one["overlap"] == "allow" else f", overlap {one['overlap']}"
    catch_up = f", catch up {one['catch_up']}" if one["catch_up"] else ""
    return f"{one['schedule']}{overlap}{catch_up}"
