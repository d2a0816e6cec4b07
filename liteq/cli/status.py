"""`liteq status`: the workers that live."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.remote import ask, show_answers
from liteq.cli.session import Session, pass_session

__all__ = ["status"]


@click.command(cls=Command)
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, comma-separated.")
@click.option("-t", "--timeout", type=float, default=1.0, show_default=True, help="Seconds to wait for workers.")
@pass_session
def status(session: Session, /, destination: str | None, timeout: float) -> int:
    """Show the workers that answer, as `liteq inspect ping` does; `liteq inspect workers` shows more of each.

    Returns as soon as all that live have answered; exits with 69 when none does. A worker of the solo pool cannot
    answer while it runs a task: it is shown as BUSY, by its heartbeat, and counts as one that answers. Work that does
    not go on is told of on stderr: messages that no worker takes, or that wait for long, dead letters, overdue
    schedules.

    \b
    JSON: {worker: {"ok": "pong"}}, or {worker: {"busy": text}}
    """
    answers = ask(session, "ping", {}, destination=destination, timeout_s=timeout)
    code = show_answers(session, answers, bodies=False)
    session.warn_of_findings()
    return code
