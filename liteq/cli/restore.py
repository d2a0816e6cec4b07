"""`liteq restore`: a backup takes the queue's place."""

from __future__ import annotations

from pathlib import Path

import click

from liteq.cli.group import Command
from liteq.cli.output import emit, say
from liteq.cli.session import Session, pass_session

__all__ = ["restore"]


@click.command(cls=Command)
@click.argument("source", type=click.Path(path_type=Path))
@pass_session
def restore(session: Session, /, source: Path) -> None:
    """Put a copy of SOURCE, which `liteq backup` wrote, in the place of the queue.

    Stop all workers, producers and beats first: while a process has the queue open, this exits with 75 and changes
    nothing. The queue that was there is kept beside it under another name. What was acknowledged after the backup runs
    again; a worker that still holds a lease from before cannot acknowledge it any more.

    \b
    JSON: {"path", "kept"}, the second null where there was no queue
    """
    from liteq.storage import describe_url, open_driver

    url = session.app.broker_url
    if describe_url(url).kind != "file":
        open_driver(url).restore(source)  # refuses, and has made nothing on the server
    storage = session.app.storage
    kept = storage.driver.restore(source)
    path = storage.driver.where()
    text = f"Restored {path}." + (f" What was there is now {kept}." if kept else "")
    emit(session, {"path": path, "kept": str(kept) if kept else None}, lambda: say(text))
