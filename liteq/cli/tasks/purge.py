"""`liteq purge`: delete what waits to run."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.asking import SURE, acting, confirm_deletion
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import filled, names
from liteq.cli.parts.output import counted, emit
from liteq.cli.parts.session import Session, pass_session

__all__ = ["purge"]


@click.command(cls=Command)
@SURE
@click.option("-Q", "--queues", metavar="NAMES", callback=filled, help="These queues, comma-separated; else all.")
@click.option("-X", "--exclude-queues", metavar="NAMES", callback=filled, help="All queues but these.")
@acting
@pass_session
def purge(session: Session, /, sure: bool, queues: str | None, exclude_queues: str | None) -> int:
    """Delete all messages that wait to run, for good.

    Those that are due, and those that are not yet. Tasks that run, finished ones and dead letters stay. A message that
    waits for a deleted one ends as if that one was revoked.

    \b
    JSON: {"purged", "queues"}
    """
    storage = session.storage
    known = sorted({count.queue for count in storage.reader.counts()})
    excluded = names(exclude_queues) or []
    chosen = [queue for queue in names(queues) or known if queue not in excluded]
    confirm_deletion(f"all messages that wait in {', '.join(chosen) or 'no queue'}", sure=sure, option="--force")
    purged = storage.operations.purge(chosen, by=session.actor())
    emit(
        session,
        {"purged": purged, "queues": chosen},
        lambda: click.echo(f"Purged {counted(purged, 'message')} from {counted(len(chosen), 'queue')}."),
    )
    return Exit.OK
