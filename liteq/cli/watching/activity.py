"""`liteq activity`: what people and programs did to the queue, and why."""

from __future__ import annotations

from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import age, emit, more, paged, table
from liteq.cli.parts.session import Session, pass_session
from liteq.monitor import activity as monitor

__all__ = ["activity"]


@click.command(cls=Command)
@click.option("--actor", default="", metavar="NAME", help="Only the acts of this person or program.")
@click.option("--action", default="", metavar="NAME", help="Only acts of this kind: requeue, revoke, purge.")
@click.option("--target", default="", metavar="ID", help="Only acts on this message, operation, queue or schedule.")
@paged
@pass_session
def activity(session: Session, /, actor: str, action: str, target: str, limit: int, after: str | None) -> int:
    """List the acts of people and programs, the newest first: `audit_expires` says how long they are kept.

    \b
    JSON: [{"id", "at", "at_iso", "actor", "action", "target", "queue", "n", "reason", "source", ...}]
    """
    _ = session.storage
    if after is not None and not after.isdecimal():
        raise click.UsageError(f"--after takes the id of an act, the last of the page before, not {after!r}")
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        room = min(limit - len(found), monitor.PAGE)
        page = monitor.activity(session.app, after, limit=room, actor=actor, action=action, target=target)
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    now_ms = session.app.clock.now_ms()
    head = ("id", "when", "actor", "action", "target", "queue", "n", "source", "reason")
    rows = [
        (
            one["id"], age(now_ms, one["at_ms"]), one["actor"], one["action"], one["target"], one["queue"], one["n"],
            one["source"], one["reason"],
        )
        for one in found
    ]  # fmt: skip
    emit(session, found, lambda: table(session, head, rows, empty="nothing was done by anybody"))
    if after is not None:
        more(session, found[-1]["id"], is_full=len(found) == limit)
    return Exit.OK
