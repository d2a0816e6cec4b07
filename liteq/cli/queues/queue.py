"""`liteq queue`: queues paused, resumed, and those that are."""

from __future__ import annotations

from typing import Any

import click

from liteq.app.control.pausing import end_s
from liteq.cli.group import Group
from liteq.cli.parts.asking import acting
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import age, emit, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.monitor.tasks.queues import pause_document
from liteq.storage.claiming.pauses import Pause
from liteq.utils.durations import seconds
from liteq.utils.globs import is_glob
from liteq.utils.misspelt import nearest
from liteq.utils.text import as_command, iso_time

__all__ = ["queue"]


@click.group(cls=Group)
def queue() -> None:
    """Queues: pause, resume, list those that are paused."""


@queue.command()
@click.argument("queue_", metavar="QUEUE")
@click.option("--until", metavar="TIME", help="The pause ends then: 2026-11-30T08:00, or after 90s, 10m, 2h.")
@click.option("--for", "for_", metavar="SPAN", help="The pause ends after this span: 90s, 10m, 2h.")
@acting
@pass_session
def pause(session: Session, /, queue_: str, until: str | None, for_: str | None) -> int:
    """Let no worker take messages from QUEUE, a name or a glob such as 'mail.*'.

    This holds at once for all workers, also those that start later; tasks that run go on. A glob pauses each queue that
    fits, also one that appears later. To pause a paused queue replaces its pause.

    \b
    JSON: {"queue", "paused", "by", "reason", "since", "since_iso", "until", "until_iso"}
    """
    if until is not None and for_ is not None:
        raise click.UsageError("--until and --for say the same: give one of them")
    actor = session.actor()
    try:
        if for_ is not None:
            seconds(for_, "--for")
        until_s = end_s(for_ or until, session.app.clock)
        paused = session.storage.queues.pause(
            queue_, until_s, actor=actor.name, reason=actor.reason, source=actor.source
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    end = f"; {as_command('queue resume', queue_)} lets it go on"
    if paused.until_ms is not None:
        end = f" until {iso_time(paused.until_ms)}"
    emit(session, _document(paused), lambda: say(f"{queue_} is paused{end}."))
    _note_unknown(session, queue_)
    return Exit.OK


@queue.command()
@click.argument("queue_", metavar="QUEUE")
@acting
@pass_session
def resume(session: Session, /, queue_: str) -> int:
    """Let workers take from QUEUE again. A glob ends all pauses that fit it.

    \b
    JSON: {"queue", "resumed", "paused"}; `paused`: it is so all the same, by a glob
    """
    actor, queues = session.actor(), session.storage.queues
    resumed = queues.resume(queue_, actor=actor.name, reason=actor.reason, source=actor.source)
    left = queues.paused().of(queue_)
    text = f"{queue_} goes on." if resumed else f"{queue_} was not paused."
    if left is not None:
        text = f"{queue_} is paused by {left.queue}: {as_command('queue resume', left.queue)} lets it go on."
    emit(session, {"queue": queue_, "resumed": resumed, "paused": left is not None}, lambda: say(text))
    return Exit.OK if resumed else Exit.FAILED


@queue.command("list")
@pass_session
def list_(session: Session, /) -> int:
    """List the queues that are paused, by name or by glob: since when, until when, by whom and why.

    \b
    JSON: [{"queue", "paused", "by", "reason", "since", "since_iso", "until", "until_iso"}]
    """
    found = session.storage.queues.paused().values()
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        rows = [
            (one.queue, age(now_ms, one.since_ms), age(now_ms, one.until_ms), one.actor, one.reason) for one in found
        ]
        table(session, ("queue", "paused", "goes on", "by", "reason"), rows, empty="no queue is paused")

    emit(session, [_document(one) for one in found], show)
    return Exit.OK


def _document(pause: Pause) -> dict[str, Any]:
    return {"queue": pause.queue, "paused": True, **pause_document(pause)}


def _note_unknown(session: Session, queue: str) -> None:
    """Tell of a name that no message bears and that looks like one that messages bear: it may be misspelt."""
    known = {count.queue for count in session.storage.reader.counts()}
    if queue not in known and not is_glob(queue) and (near := nearest(queue, known)):
        session.note(f"no message is in a queue {queue!r}; the nearest is {near!r}")
