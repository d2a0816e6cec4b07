"""`liteq why`: the reason why a task is as it is."""

from __future__ import annotations

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, json_text, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.tasks.result import NoSuchMessage
from liteq.monitor.tasks.why import explain

__all__ = ["why"]


@click.command(cls=Command)
@click.argument("id_", metavar="ID")
@click.option("-v", "--details", "details", is_flag=True, help="The facts behind the answer too.")
@pass_session
def why(session: Session, /, id_: str, details: bool) -> int:
    """Tell why a task waits, runs or has failed: one sentence, and its reason in a word.

    Exits with 1 where there is no task of this ID.

    \b
    JSON: {"id", "state", "reason", "text", "details"}
    """
    _ = session.storage  # refuses a file that is not there
    found = explain(session.app, id_)
    if found is None:
        raise NoSuchMessage(id_)

    def write() -> None:
        say(f"{found['state']}, {found['reason']}: {found['text']}")
        for name, value in found["details"].items() if details else ():
            if value is not None:
                say(f"  {name:<14} {json_text(value) if isinstance(value, (list, dict)) else value}")

    emit(session, found, write)
    return Exit.OK
