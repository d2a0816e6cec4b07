"""`liteq top`: the queue as it is now, once a second, in a terminal."""

from __future__ import annotations

import os

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import json_text
from liteq.cli.parts.session import Session, pass_session
from liteq.exceptions import ImproperlyConfigured

__all__ = ["top"]


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Write it once, as text.")
@click.option("--read-only", is_flag=True, help="Look only: no key acts.")
@pass_session
def top(session: Session, /, once: bool, read_only: bool) -> int:
    """Show queues, running tasks, failures, workers, workflows and schedules, once a second.

    Small letters only look; capitals act, and ask first; ? lists the keys. Needs a terminal and the extra `tui`
    (textual), but neither with --once or --json.

    \b
    JSON: {"verdict", "states", "queues", "running", "causes", "warnings", "rates"}
    """
    from liteq.cli.top.reading import read

    _ = session.storage  # refuses a file that is not there
    if session.json:
        from liteq.monitor.overview import overview

        click.echo(json_text(overview(session.app)))
        return Exit.OK
    session.tell_hidden(())
    if once:
        from liteq.cli.top.once import show

        show(session, read(session.app, ("failures",)))
        return Exit.OK
    try:
        import textual as _textual  # noqa: F401
    except ImportError:
        raise ImproperlyConfigured("liteq top needs textual: pip install textual (--once needs none)") from None
    if not session.on_terminal:
        raise click.UsageError("no terminal; use --once or --json")
    if session.no_color:
        os.environ["NO_COLOR"] = "1"
    from liteq.cli.top.screen import TopApp

    TopApp(session.app, read_only=read_only).run()
    return Exit.OK
