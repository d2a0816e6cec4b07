"""`liteq epoch`: a store that has gone back in time begins a new life."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.asking import acting
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session

__all__ = ["epoch"]


@click.command(cls=Command)
@acting
@pass_session
def epoch(session: Session, /) -> int:
    """Begin a new epoch, after a server's point-in-time recovery or any copy that came back by other tools.

    Workers of the life before can acknowledge nothing any more: what they hold goes back into the queues, and runs
    again. A worker that goes on enters its name anew. `liteq restore` does this by itself.

    \b
    JSON: {"epoch", "path"}
    """
    storage = session.storage
    number = storage.operations.begin_epoch(session.actor())
    path = storage.driver.where()
    emit(session, {"epoch": number, "path": path}, lambda: say(f"{path} is in epoch {number}."))
    return Exit.OK
