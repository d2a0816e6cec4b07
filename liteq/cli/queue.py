"""`liteq queue`: queues paused, resumed, and those that are."""

from __future__ import annotations

import click

from liteq.cli.exits import Exit
from liteq.cli.group import Group
from liteq.cli.output import age, emit, say, table
from liteq.cli.session import Session, pass_session
from liteq.monitor.queues import pause_document
from liteq.workflow.duration import seconds

__all__ = ["queue"]


@click.group(cls=Group)
def queue() -> None:
    """Queues: pause, resume, list those that are paused."""


@queue.command()
@click.argument("queue_", metavar="QUEUE")
@click.option("--for", "for_", metavar="SPAN", help="It goes on by itself after so long: 90s, 10m, 2h.")
@click.option("--reason", default="", metavar="TEXT", help="Noted with it, and shown.")
@pass_session
def pause(session: Session, /, queue_: str, for_: str | None, reason: str) -> int:
    """Have no worker take anything more from QUEUE.

    At once and in all workers, also those that start later; what runs goes on. A queue that is paused is paused anew.

    \b
    JSON: {"queue", "by", "reason", "since", "since_iso", "until", "until_iso"}
    """
    until_s, by = None, session.actor(reason)
    if for_ is not None:
        try:
            until_s = session.app.clock.now_ms() / 1000 + seconds(for_, "--for")
        except ValueError as exc:
            raise click.UsageError(str(exc)) from None
    paused = session.storage.queues.pause(queue_, until_s, actor=by.name, reason=by.reason, source=by.source)
    until = f" for {for_}" if for_ is not None else f"; `liteq queue resume {queue_}` lets it go on"
    emit(session, {"queue": queue_, **pause_document(paused)}, lambda: say(f"{queue_} is paused{until}."))
    return Exit.OK


@queue.command()
@click.argument("queue_", metavar="QUEUE")
@click.option("--reason", default="", metavar="TEXT", help="Noted with it.")
@pass_session
def resume(session: Session, /, queue_: str, reason: str) -> int:
    """Have workers take from QUEUE again.

    \b
    JSON: {"queue", "resumed"}
    """
    by = session.actor(reason)
    resumed = session.storage.queues.resume(queue_, actor=by.name, reason=by.reason, source=by.source)
    text = f"{queue_} goes on." if resumed else f"{queue_} was not paused."
    emit(session, {"queue": queue_, "resumed": resumed}, lambda: say(text))
    return Exit.OK if resumed else Exit.FAILED


@queue.command("list")
@pass_session
def list_(session: Session, /) -> int:
    """List the queues that are paused: since when, until when, by whom and why.

    \b
    JSON: [{"queue", "by", "reason", "since", "since_iso", "until", "until_iso"}]
    """
    found = session.storage.queues.paused().values()
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        rows = [
            (one.queue, age(now_ms, one.since_ms), age(now_ms, one.until_ms), one.actor, one.reason) for one in found
        ]
        table(session, ("queue", "paused", "goes on", "by", "reason"), rows, empty="no queue is paused")

    emit(session, [{"queue": one.queue, **pause_document(one)} for one in found], show)
    return Exit.OK
