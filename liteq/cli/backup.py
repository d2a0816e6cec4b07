"""`liteq backup`: a consistent copy while others work."""

from __future__ import annotations

from pathlib import Path

import click

from liteq.cli.exits import Exit
from liteq.cli.group import Command
from liteq.cli.output import emit, say
from liteq.cli.session import Session, pass_session

__all__ = ["backup"]


@click.command(cls=Command)
@click.argument("target", type=click.Path(path_type=Path))
@pass_session
def backup(session: Session, /, target: Path) -> int:
    """Write a consistent copy of the queue to TARGET.

    TARGET must not exist (else it exits with 73). Workers and producers go on meanwhile.

    \b
    JSON: {"path", "bytes"}
    """
    storage = session.storage
    if target.exists() or not target.parent.is_dir():
        why = "is there already: name another file" if target.exists() else "has no folder: create that first"
        click.echo(f"liteq: error: {target} {why}", err=True)
        return Exit.CANNOT_CREATE
    storage.backup(target)
    size = target.stat().st_size
    emit(session, {"path": str(target.resolve()), "bytes": size}, lambda: say(f"Wrote {target} ({size:,} bytes)."))
    return Exit.OK
