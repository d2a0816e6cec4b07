"""`liteq report`: what a bug report needs."""

from __future__ import annotations

from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.version import versions
from liteq.context.display import shown_settings

__all__ = ["report"]


@click.command(cls=Command)
@pass_session
def report(session: Session, /) -> int:
    """Show versions and settings, for a bug report.

    Secrets are hidden as far as they can be recognised; read the report before you send it.

    \b
    JSON: {"versions": {}, "settings": {}, "tasks": [names]}
    """
    app = session.app
    if session.has_app:
        app.import_tasks()
    settings = {name: repr(value) for name, value in shown_settings(app).items()}
    document: dict[str, Any] = {"versions": versions(), "settings": settings, "tasks": sorted(app.tasks)}

    def show() -> None:
        for part in ("versions", "settings"):
            say(f"\n{part}")
            for name, value in document[part].items():
                say(f"  {name:<28} {value}")
        say(f"\ntasks\n  {', '.join(document['tasks']) or '(none)'}")

    emit(session, document, show)
    return Exit.OK
