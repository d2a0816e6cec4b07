"""`liteq restore`: a backup, or a replica of Litestream's, takes the queue's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from liteq.cli.group import Command
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.exceptions import StorageInUse
from liteq.storage.driver import Driver

__all__ = ["restore"]

REPLICA = "litestream:"


@click.command(cls=Command)
@click.argument("source")
@pass_session
def restore(session: Session, /, source: str) -> None:
    """Put a copy of SOURCE in the place of the queue.

    SOURCE is a file that `liteq backup` wrote, a follower of Litestream's that has been ended, or a replica such as
    `litestream://s3://bucket/queue`, for which the program litestream is run. With `?timestamp=2026-11-28T22:53:00Z`
    the queue is as it was then. All other options of the query are Litestream's.

    Stop all workers, producers and beats first: while a process has the queue open, this exits with 75 and changes
    nothing. The queue that was there is kept beside it under another name. Tasks that were acknowledged after the
    backup run again. A worker that still holds a lease from before cannot acknowledge it any more.

    \b
    JSON: {"path", "kept"}, the second null where there was no queue
    """
    from liteq.storage import describe_url, open_driver

    url = session.app.broker_url
    if describe_url(url).kind != "file":
        open_driver(url).restore(Path(source))  # refuses, and has made nothing on the server
    session.app.close()  # what the program that it is of has opened
    driver = session.app.open_storage(url).driver  # not the app's, which would make a queue where there is none
    with _file_of(source, driver) as file:
        kept = driver.restore(file)
    path = driver.where()
    if source.startswith(REPLICA):
        session.note("from now on copy it to another place: `liteq litestream --to ANOTHER_URL`")
    text = f"Restored {path}." + (f" The queue that was there is now {kept}." if kept else "")
    emit(session, {"path": path, "kept": str(kept) if kept else None}, lambda: say(text))


@contextmanager
def _file_of(source: str, driver: Driver) -> Iterator[Path]:
    """The file that SOURCE names; of a replica, one that is there in this block alone."""
    if not source.startswith(REPLICA):
        yield Path(source)
        return
    from liteq.operating.litestream.source import source_of
    from liteq.operating.litestream.tool import restored

    replica = source_of(source)
    if users := driver.users():  # else told only when all has been fetched
        raise StorageInUse(driver.where(), ", ".join(users))
    with restored(replica, Path(driver.where())) as file:
        yield file
