"""`liteq dead`: the dead letters, listed, shown, requeued, dropped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import click

from liteq.cli.group import Group
from liteq.cli.parts.asking import SURE, acting, confirm_deletion
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import filled
from liteq.cli.parts.output import age, counted, emit, json_text, more, paged, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.where import chosen, search_of, where_option
from liteq.cli.tasks.operations import do
from liteq.cli.tasks.result import NoSuchMessage
from liteq.monitor import messages
from liteq.monitor.tasks.search import Search, quoted
from liteq.operating import preview
from liteq.states import State
from liteq.storage.storage import Storage

__all__ = ["dead"]

PAGE = 500  # ids of one transaction
OLDEST_FIRST = "dead, oldest first"


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose dead letters by what they are."""
    command = where_option(command)
    command = click.option(
        "--task", metavar="NAME", callback=filled, help="Only those of this task; * and ? stand for any text."
    )(command)
    return click.option("-Q", "--queue", metavar="NAME", callback=filled, help="Only those of this queue, likewise.")(
        command
    )


@click.group(cls=Group)
def dead() -> None:
    """Tasks that failed for good: list, show, requeue, drop."""


@dead.command("list")
@filters
@paged
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip this many first, in the place of --after.")
@pass_session
def list_(
    session: Session, /, task: str | None, queue: str | None, where: str, limit: int, after: str | None, offset: int
) -> int:  # fmt: skip
    """List dead letters, the newest first.

    \b
    JSON: [{"id", "task", "queue", "state", "finished", "retries", "crashes", "error": {"type", "message"}, ...}]
    """
    search = _search(session, where, task, queue)
    ids = [line.id for line in chosen(session, search, limit=limit, offset=offset, after=after)]
    known = session.storage.reader.find_many(ids)
    records = [known[id_] for id_ in ids if id_ in known]
    found = [messages.document(session.app, record) for record in records]
    now_ms = session.app.clock.now_ms()

    def show() -> None:
        head = ("id", "task", "queue", "died", "retries", "error")
        rows = [
            (
                r.id, r.task, r.queue, age(now_ms, r.finished_ms), r.retries,
                "{type}: {message}".format(**(d["error"] or {"type": "?", "message": ""}))[:200],
            )
            for r, d in zip(records, found, strict=True)
        ]  # fmt: skip
        none = "no dead letter fits" if where or task or queue else "there are no dead letters"
        table(session, head, rows, empty=none)

    emit(session, found, show)
    if ids:
        more(session, ids[-1], is_full=len(ids) == limit)
    return Exit.OK


@dead.command()
@click.argument("id_", metavar="ID")
@pass_session
def show(session: Session, /, id_: str) -> int:
    """Show a dead letter with its arguments, its exception and the traceback.

    Sensitive arguments are hidden. Without -A all are, as only the app's code says which are sensitive.

    \b
    JSON: as `list`, and "args", "kwargs", "traceback"
    """
    record = session.storage.reader.find(id_)
    if record is None or record.state != State.DEAD:
        raise NoSuchMessage(id_) if record is None else _not_dead(id_, record.state)
    session.tell_hidden([record.task])
    error = messages.failure(record)
    traceback = "" if error is None else error.traceback
    document = messages.document(session.app, record, with_args=True) | {"traceback": traceback}

    def write() -> None:
        for name, value in document.items():
            if value not in (None, "") and name not in {"error", "traceback"}:
                say(f"{name:<10} {json_text(value) if isinstance(value, (list, dict)) else value}")
        if document["error"]:
            say("error      {type}: {message}".format(**document["error"]))
        if traceback:
            say("\n" + traceback.rstrip())

    emit(session, document, write)
    return Exit.OK


def _not_dead(id_: str, state: State) -> click.UsageError:
    return click.UsageError(f"message {id_!r} is not a dead letter; its state is {state}")


@dead.command()
@click.argument("ids", nargs=-1)
@filters
@click.option("--all", "every", is_flag=True, help="All of them.")
@acting
@pass_session
def requeue(
    session: Session, /, ids: tuple[str, ...], task: str | None, queue: str | None, where: str, every: bool
) -> int:
    """Put dead letters back into their queues, with fresh counters; what waited for them waits again.

    Name IDs, or choose by --where, --task, --queue, or --all. Exits with 1 when one of them could not be put back.
    More than a thousand become an operation, unless JSON is asked for: it leaves room for other writers, and
    `liteq operations` stops and continues it. `liteq dead replay` is its old name.

    \b
    JSON: {"requeued": [ids], "replayed": [the same], "refused": [ids]}
    """
    storage = session.storage
    if not ids and (q := _many(session, "requeue", where, task, queue, every)):
        return do(session, "requeue", q, sure=True)
    requeued: list[str] = []
    refused: list[str] = []
    for page in _pages(session, ids, task, queue, where, every):
        done = storage.dead.requeue(page, by=session.actor())
        requeued += done
        refused += [id_ for id_ in page if id_ not in set(done)]

    def write() -> None:
        click.echo(f"Requeued {counted(len(requeued), 'dead letter')}.")
        for id_ in refused:
            say(f"{id_}: {_why_refused(storage, id_)}")

    emit(session, {"requeued": requeued, "replayed": requeued, "refused": refused}, write)
    return Exit.FAILED if refused else Exit.OK


dead.old_names = {"replay": "requeue"}


def _why_refused(storage: Storage, id_: str) -> str:
    """The reason why a dead letter was not requeued, as far as it can still be seen."""
    record = storage.reader.find(id_)
    if record is None:
        return "there is no such message"
    if record.state is not State.DEAD:
        return f"it is no dead letter: it is {record.state}"
    return f"its unique key {record.unique_key!r} is taken by an unfinished message; requeue it when that has ended"


@dead.command()
@click.argument("ids", nargs=-1)
@filters
@click.option("--all", "every", is_flag=True, help="All of them.")
@SURE
@acting
@pass_session
def drop(
    session: Session, /, ids: tuple[str, ...], task: str | None, queue: str | None, where: str, every: bool, sure: bool
) -> int:
    """Delete dead letters for good: IDs, or those of --where, --task or --queue, or --all.

    Asks first, unless IDs are named.

    \b
    JSON: {"dropped"}
    """
    pages = _pages(session, ids, task, queue, where, every)
    if not ids and (task or queue or where or every):
        given = (("task", repr(task), task), ("queue", repr(queue), queue), ("the search", where, where))
        narrowed = "".join(f" of {kind} {shown}" for kind, shown, value in given if value)
        confirm_deletion(f"all dead letters{narrowed}", sure=sure, option="--yes")
        if q := _many(session, "delete", where, task, queue, every):
            return do(session, "delete", q, sure=True)
    named = len(set(ids))
    dropped = sum(session.storage.dead.drop(page, by=session.actor()) for page in pages)

    def write() -> None:
        click.echo(f"Dropped {counted(dropped, 'dead letter')}.")
        if dropped < named:
            say("The others are no dead letters, or an errback or an unfinished group still needs their error.")

    emit(session, {"dropped": dropped}, write)
    return Exit.FAILED if dropped < named else Exit.OK


def _search(session: Session, where: str, task: str | None, queue: str | None) -> Search:
    """The search of the options, among dead letters. Raises click.UsageError for one in other states."""
    search = search_of(session, where, states=[State.DEAD], task=task, queue=queue)
    if search.states != (State.DEAD,):
        raise click.UsageError("--where: `liteq dead` finds dead letters only; leave out state:")
    return search


def _many(
    session: Session, action: str, where: str, task: str | None, queue: str | None, every: bool
) -> str:  # fmt: skip
    """The options as one search, where it finds more than a page of dead letters, and no list of ids is asked for."""
    if session.json or not (where or task or queue or every):
        return ""
    _search(session, where, task, queue)
    words = [f"{key}:{quoted(name)}" for key, name in (("task", task), ("queue", queue)) if name]
    q = " ".join(filter(None, ["state:dead", *words, where]))
    return q if preview(session.app, action, q).found > PAGE else ""


def _pages(
    session: Session, ids: Sequence[str], task: str | None, queue: str | None, where: str, every: bool
) -> Iterator[list[str]]:
    """The ids that were named, or all that match, in pages. Each is yielded once, whatever becomes of it meanwhile."""
    by = bool(task or queue or where or every)
    if ids and by:
        raise click.UsageError("give IDs, or --where, --task, --queue or --all, not both")
    if not (ids or by):
        raise click.UsageError("no dead letter is chosen; give IDs, or --where, --task, --queue or --all")
    if ids:
        yield list(dict.fromkeys(ids))
        return
    # The oldest first: they have waited longest.
    search = _search(session, where, task, queue)
    # One that fails again meanwhile is not put back again.
    now_ms = session.app.clock.now_ms()
    search = replace(search, until_ms=now_ms if search.until_ms is None else min(now_ms, search.until_ms))
    walk = None if search.cause or search.root or search.tag else OLDEST_FIRST
    lines = chosen(session, search, limit=sys.maxsize, walk=walk)
    while page := [line.id for line in islice(lines, PAGE)]:
        yield page
