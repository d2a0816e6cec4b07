"""`liteq limits`: how many of a key run at once and how often they start; and keys that are paused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from liteq.app.control.pausing import end_s
from liteq.cli.group import Group
from liteq.cli.parts.asking import acting
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import age, counted, emit, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.clock import from_ms
from liteq.utils.globs import fits
from liteq.utils.misspelt import LIKELY, nearest
from liteq.utils.text import iso_time

if TYPE_CHECKING:
    from liteq.storage.limits import Limit

__all__ = ["limits"]


@click.group(cls=Group)
def limits() -> None:
    """Limits by key: list, set, delete, pause, resume.

    KEY is a key of messages ("user:42"), "task:NAME" or "queue:NAME". One with * limits each key that fits it.
    """


@limits.command("list")
@pass_session
def list_(session: Session, /) -> int:
    """List the limits, and the keys that are paused: what runs, and what is held.

    \b
    JSON: [{"key", "rate", "concurrent", "running", "held", "paused_until", "paused_until_iso", "reason", "tokens"}]
    """
    found = session.storage.limits.list()
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        rows = [
            (one.key, one.rate, one.concurrent, one.tokens, one.running, one.held, _paused(now_ms, one), one.reason)
            for one in found
        ]
        head = ("key", "rate", "at once", "tokens", "run", "held", "paused", "reason")
        table(session, head, rows, empty="there is no limit")

    emit(session, [_document(one) for one in found], show)
    return Exit.OK


@limits.command("set")
@click.argument("key")
@click.option("--rate", metavar="RATE", help="How many may start: 10/s, 100/m, 5/h, 1000/d.")
@click.option("--concurrent", type=click.IntRange(min=1), help="How many run at once.")
@click.option("--tokens", metavar="RATE", help="How many tokens of models its steps may take: 200k/m, 5M/d.")
@acting
@pass_session
def set_(session: Session, /, key: str, rate: str | None, concurrent: int | None, tokens: str | None) -> int:
    """Limit KEY, at once and for all workers. An option that is left out is no limit.

    The limit stays over restarts, until the one that the code declares changes.

    \b
    JSON: {"key", "rate", "concurrent", "running", "held", "paused_until", "paused_until_iso", "reason", "tokens"}
    """
    with _usage():
        session.storage.limits.set(key, rate, concurrent, tokens, by=session.actor())
    now = session.storage.limits.get(key)
    said = ", ".join(
        [
            *([f"{rate} start"] if rate else []),
            *([f"{concurrent} run at once"] if concurrent is not None else []),
            *([f"{tokens} tokens"] if tokens else []),
        ]
    )
    emit(session, _document(now), lambda: say(f"{key}: {said or 'no limit'}."))
    return Exit.OK


@limits.command()
@click.argument("key")
@acting
@pass_session
def delete(session: Session, /, key: str) -> int:
    """Forget the limit of KEY; messages it held go on. One that the code declares comes back when a worker starts.

    \b
    JSON: {"key", "deleted"}
    """
    deleted = session.storage.limits.delete(key, by=session.actor())
    text = f"{key} has no limit of its own any more." if deleted else f"{key} had no limit of its own."
    emit(session, {"key": key, "deleted": deleted}, lambda: say(text))
    _note_unknown(session, key, known=deleted)
    return Exit.OK if deleted else Exit.FAILED


@limits.command()
@click.argument("key")
@click.argument("span", metavar="[SPAN]", required=False)
@click.option("--until", metavar="TIME", help="The pause ends then: 2026-11-30T08:00, or after 90s, 10m, 2h.")
@click.option("--for", "for_", metavar="SPAN", help="The pause ends after this span: 90s, 10m, 2h.")
@acting
@pass_session
def pause(session: Session, /, key: str, span: str | None, until: str | None, for_: str | None) -> int:
    """Let no message of KEY start for SPAN (90s, 10m, 2h), in any worker; the first starts after that are slow.

    Give SPAN, --for or --until. Messages that run go on. Of several pauses, the one that ends last counts.

    \b
    JSON: {"key", "rate", "concurrent", "running", "held", "paused_until", "paused_until_iso", "reason", "tokens"}
    """
    from liteq.operating.limits import checked

    with _usage():
        wait_s = checked("pause", {"seconds": _wait_s(session, span, until, for_)})["seconds"]
        actor = session.actor()
        session.storage.limits.pause(key, wait_s, actor.reason, by=actor)
    now = session.storage.limits.get(key)
    given = span or for_ or ""
    said = f"for {given} s" if given.isdecimal() else f"for {given}"
    if until and now.paused_until is not None:
        said = f"until {iso_time(int(now.paused_until * 1000))}"
    waits = f"; {counted(now.held, 'message')} of it wait" if now.held else ""
    emit(session, _document(now), lambda: say(f"{key} is paused {said}{waits}."))
    _note_unknown(session, key, known=now.held > 0)
    return Exit.OK


@limits.command()
@click.argument("key")
@acting
@pass_session
def resume(session: Session, /, key: str) -> int:
    """End the pause of KEY.

    \b
    JSON: {"key", "resumed"}
    """
    resumed = session.storage.limits.resume(key, by=session.actor())
    text = f"{key} goes on." if resumed else f"{key} was not paused."
    emit(session, {"key": key, "resumed": resumed}, lambda: say(text))
    _note_unknown(session, key, known=resumed)
    return Exit.OK if resumed else Exit.FAILED


def _wait_s(session: Session, span: str | None, until: str | None, for_: str | None) -> float | str:
    """The time of a pause. Raises UsageError unless one of the three says it."""
    given = [one for one in (span, until, for_) if one is not None]
    if len(given) != 1:
        raise click.UsageError("say once when the pause ends: SPAN as 10m, --for SPAN or --until TIME")
    if until is None:
        return given[0]
    end = end_s(until, session.app.clock) or 0.0
    return end - session.app.clock.now_ms() / 1000


def _note_unknown(session: Session, key: str, *, known: bool) -> None:
    """Tell the limit that looks most like KEY, where KEY is not known to have one: it may be misspelt."""
    keys = {one.key for one in session.storage.limits.list() if one.rate or one.concurrent or one.held}
    if not known and not any(fits(key, one) for one in keys) and (near := nearest(key, keys, LIKELY)):
        session.note(f"{key!r} has no limit; the nearest that has one is {near!r}")


@contextmanager
def _usage() -> Iterator[None]:
    """A block in which a wrong value is a wrong use of the command."""
    try:
        yield
    except (ValueError, TypeError) as exc:
        raise click.UsageError(str(exc)) from None


def _document(limit: Limit) -> dict[str, Any]:
    until = limit.paused_until
    return {**limit._asdict(), "paused_until_iso": None if until is None else from_ms(int(until * 1000)).isoformat()}


def _paused(now_ms: int, limit: Limit) -> str:
    return "" if limit.paused_until is None else f"ends {age(now_ms, int(limit.paused_until * 1000))}"
