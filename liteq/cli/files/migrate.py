"""`liteq migrate`: bring the file to this version's schema, creating it if need be."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session

__all__ = ["migrate"]


@click.command(cls=Command)
@pass_session
def migrate(session: Session, /) -> int:
    """Bring the file's schema up to date.

    Creates the file if need be. Workers and producers do so by themselves.

    \b
    JSON: {"version", "path"}
    """
    storage = session.app.storage
    version = storage.migrate()
    path = storage.driver.where()
    emit(session, {"version": version, "path": path}, lambda: say(f"{path} has schema version {version}."))
    return Exit.OK
