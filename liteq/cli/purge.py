"""`liteq purge`: delete what waits to run."""

from __future__ import annotations

import sys

import click

from liteq.cli.exits import Exit
from liteq.cli.group import Command
from liteq.cli.output import counted, emit
from liteq.cli.session import Session, pass_session

__all__ = ["names", "purge"]


def names(text: str | None) -> list[str] | None:
    """The parts of a comma-separated list; None for none."""
    return None if text is None else [part for name in text.split(",") if (part := name.strip())]


@click.command(cls=Command)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", metavar="NAMES", help="These queues, comma-separated; else all.")
@click.option("-X", "--exclude-queues", metavar="NAMES", help="All queues but these.")
@pass_session
def purge(session: Session, /, force: bool, queues: str | None, exclude_queues: str | None) -> int:
    """Delete what waits to run, for good.

    Due or not. What runs, what has finished and dead letters stay. What waits for a deleted message ends as if that
    was revoked.

    \b
    JSON: {"purged", "queues"}
    """
    storage = session.storage
    known = sorted({count.queue for count in storage.reader.counts()})
    excluded = names(exclude_queues) or []
    chosen = [queue for queue in names(queues) or known if queue not in excluded]
    if not force:
        _ask(chosen)
    purged = storage.purge(chosen)
    emit(
        session,
        {"purged": purged, "queues": chosen},
        lambda: click.echo(f"Purged {counted(purged, 'message')} from {counted(len(chosen), 'queue')}."),
    )
    return Exit.OK


def _ask(queues: list[str]) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("this deletes messages for good: add --force where nobody can be asked")
    click.confirm(f"Delete everything that waits in {', '.join(queues) or 'no queue'}?", abort=True, err=True)
