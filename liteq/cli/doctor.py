"""`liteq doctor`: is the file sound, is it where a queue can live, and does the work in it go on?"""

from __future__ import annotations

import platform
from collections.abc import Iterator

import click

from liteq._version import __version__
from liteq.cli.exits import Exit
from liteq.cli.group import Command
from liteq.cli.output import counted, emit, table
from liteq.cli.session import Session, pass_session
from liteq.context.identity import is_dead
from liteq.monitor.findings import findings
from liteq.monitor.workers import living
from liteq.storage.upkeep import Check

__all__ = ["doctor"]


@click.command(cls=Command)
@pass_session
def doctor(session: Session, /) -> int:
    """Check the queue's file, the disk it is on, and whether the work in it goes on.

    Exits with 1 when something is wrong (an error; a warning is no reason): a damaged file, messages that no worker
    takes, schedules that no beat sends. The integrity check reads the whole file and its log.

    \b
    JSON: {"ok", "checks": [{"name", "status": "ok"|"warning"|"error", "detail"}], "storage": {...}}
    """
    driver = session.storage.driver
    facts = driver.describe()
    checks = [_versions(), *driver.checks(facts), *_of_queue(session)]
    sound = all(check.status != "error" for check in checks)
    document = {"ok": sound, "checks": [check._asdict() for check in checks], "storage": facts}
    emit(session, document, lambda: table(session, Check._fields, checks, empty=""))
    return Exit.OK if sound else Exit.FAILED


def _versions() -> Check:
    return Check("versions", "ok", f"liteq {__version__}, Python {platform.python_version()}, {platform.platform()}")


def _of_queue(session: Session) -> Iterator[Check]:
    alive = living(session.app)
    workers = session.storage.reader.workers()
    gone = [worker for worker in workers if is_dead(worker.identity)]
    names = ", ".join(worker.name for worker in alive)
    yield Check("workers", "ok", f"{counted(len(alive), 'worker')}" + (f": {names}" if names else ""))
    held = sum(worker.leased for worker in gone)
    if held and not alive:
        yield Check(
            "dead workers", "warning", f"{counted(held, 'message')} held by processes that are gone: start a worker"
        )
    totals = session.storage.views.states()
    shown = ", ".join(
        f"{found.n:,}{'' if found.exact else ' or more'} {state}" for state, found in totals.items() if found.n
    )
    yield Check("messages", "ok", shown or "empty")
    for finding in findings(session.app):
        yield Check(*finding)
