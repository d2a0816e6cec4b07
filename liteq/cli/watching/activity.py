"""`liteq activity`: what people and programs did to the queue, and why."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import age, emit, table
from liteq.cli.parts.session import Session, pass_session
from liteq.monitor import activity as monitor

__all__ = ["activity"]


@click.command(cls=Command)
@click.option("--actor", default="", metavar="NAME", help="Only the acts of this person or program.")
@click.option("--action", default="", metavar="NAME", help="Only acts of this kind: requeue, revoke, purge.")
@click.option("--target", default="", metavar="ID", help="Only acts on this message, operation, queue or schedule.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most this many.")
@pass_session
def activity(session: Session, /, actor: str, action: str, target: str, limit: int) -> int:
    """List the acts of people and programs, the newest first: `audit_expires` says how long they are kept.

    \b
    JSON: [{"id", "at_ms", "actor", "action", "target", "queue", "n", "reason", "source", ...}]
    """
    _ = session.storage
    page = monitor.activity(session.app, actor=actor, action=action, target=target)
    found = page["items"]
    while page["next"] is not None and len(found) < limit:
        page = monitor.activity(session.app, page["next"], actor=actor, action=action, target=target)
        found += page["items"]
    now_ms = session.app.clock.now_ms()
    head = ("when", "actor", "action", "target", "queue", "n", "source", "reason")
    rows = [
        (
            age(now_ms, one["at_ms"]), one["actor"], one["action"], one["target"], one["queue"], one["n"],
            one["source"], one["reason"],
        )
        for one in found[:limit]
    ]  # fmt: skip
    emit(session, found[:limit], lambda: table(session, head, rows, empty="nothing was done by anybody"))
    return Exit.OK
