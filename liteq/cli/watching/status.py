"""`liteq status`: the workers that live."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.many import db_option, each_file
from liteq.cli.parts.names import names
from liteq.cli.parts.output import age, counted, emit, say
from liteq.cli.parts.remote import ask, show_answers
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.storage.reading.backlog import COUNTED
from liteq.utils.text import iso_time

__all__ = ["status"]


@click.command(cls=Command)
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, comma-separated.")
@click.option("-t", "--timeout", type=SPAN, default=1.0, show_default=True, help="How long to wait for workers.")
@db_option("Of")
@pass_session
def status(session: Session, /, destination: str | None, timeout: float, db: tuple[str, ...]) -> int:
    """Show the workers that answer, as `liteq inspect ping` does; `liteq inspect workers` shows more of each.

    Returns as soon as all that live have answered; exits with 69 when none does. A worker of the solo pool cannot
    answer while it runs a task: it is shown as BUSY, by its heartbeat, and counts as one that answers. Work that does
    not go on is told of on stderr: messages that no worker takes, or that wait for long, dead letters, overdue
    schedules.

    Where the broker URL says `?mode=ro` nobody is asked: the workers that are in the file are shown, each with its last
    heartbeat, and the exit code is 0.

    \b
    JSON: {worker: {"ok": "pong"}}, or {worker: {"busy": text}}; ?mode=ro: {worker: {"heartbeat": TIME, "leased": n}}.
    With --db {PATH: that, or {"error"}}
    """
    if db:
        return each_file(session, db, lambda one: _status(one, destination, timeout))
    return _status(session, destination, timeout)


def _status(session: Session, destination: str | None, timeout: float) -> int:
    if session.storage.driver.read_only:
        code = _of_file(session, destination)
    else:
        code = _of_workers(session, destination, timeout)
    session.warn_of_findings()
    if not session.json and (line := _runs_line(session)):
        session.note(line)
    return code


def _of_workers(session: Session, destination: str | None, timeout_s: float) -> int:
    answers = ask(session, "ping", {}, destination=destination, timeout_s=timeout_s)
    return show_answers(session, answers, bodies=False)


def _of_file(session: Session, destination: str | None) -> int:
    """The workers in a file that is only looked at, with their last heartbeats."""
    asked, now_ms = names(destination), session.app.clock.now_ms()
    found = [one for one in session.storage.reader.workers() if asked is None or one.name in asked]

    def show() -> None:
        for worker in sorted(found, key=lambda one: one.name):
            say(f"->  {worker.name}: heartbeat {age(now_ms, worker.heartbeat_ms)}")
        say(f"\n{counted(len(found), 'worker')} in the file.")

    emit(session, {one.name: {"heartbeat": iso_time(one.heartbeat_ms), "leased": one.leased} for one in found}, show)
    return Exit.OK


def _runs_line(session: Session) -> str:
    """The runs that wait, in a line; "" where none does."""
    found = session.storage.runs.waiting()
    parts = (
        (found.waiting, "waits for something", "wait for something"),
        (found.paused, "is paused", "are paused"),
        (found.stuck, "is stuck", "are stuck"),
    )
    runs = [f"{_number(n)} {one if n == 1 else many}" for n, one, many in parts if n]
    if found.approvals:
        approvals = "1 approval is open" if found.approvals == 1 else f"{_number(found.approvals)} approvals are open"
        runs.append(f"{approvals} (`liteq workflow pending`)")
    return f"runs: {', '.join(runs)}" if runs else ""


def _number(n: int) -> str:
    return f"{n:,}" if n < COUNTED else f"{n:,} or more"
