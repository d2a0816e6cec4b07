"""`liteq mark`: a moment with a name, as a line in the charts."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session

__all__ = ["mark"]

LONGEST = 200  # characters of a label


@click.command(cls=Command)
@click.argument("label")
@pass_session
def mark(session: Session, /, label: str) -> int:
    """Mark this moment in the charts as LABEL: a deploy, an incident.

    Workers of a new release leave such a mark by themselves (setting `release`, LITEQ_RELEASE).

    \b
    JSON: {"label", "at"}
    """
    label = label.strip()[:LONGEST]
    if not label:
        raise click.UsageError("LABEL is empty")
    at_ms = session.app.clock.now_ms()
    session.storage.audit.mark(label)
    emit(session, {"label": label, "at": at_ms}, lambda: say(f"Marked as {label}."))
    return Exit.OK
