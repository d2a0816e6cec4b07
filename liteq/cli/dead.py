"""`liteq dead`: the dead letters, listed, shown, replayed, dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from liteq.cli.asking import confirm_deletion
from liteq.cli.exits import Exit
from liteq.cli.group import Group
from liteq.cli.output import age, counted, emit, json_text, say, table
from liteq.cli.result import NoSuchMessage
from liteq.cli.session import Session, pass_session
from liteq.monitor import messages
from liteq.states import State
from liteq.storage.storage import Storage

__all__ = ["dead"]

PAGE = 1_000  # ids of one transaction


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose dead letters by what they are."""
    command = click.option("--task", metavar="NAME", help="Only those of this task.")(command)
    return click.option("-Q", "--queue", metavar="NAME", help="Only those of this queue.")(command)


@click.group(cls=Group)
def dead() -> None:
    """Tasks that failed for good: list, show, replay, drop."""


@dead.command("list")
@filters
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most this many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip this many first.")
@pass_session
def list_(session: Session, /, task: str | None, queue: str | None, limit: int, offset: int) -> int:
    """List dead letters, the newest first.

    \b
    JSON: [{"id", "task", "queue", "state", "finished", "retries", "crashes", "error": {"type", "message"}, ...}]
    """
    records = session.storage.reader.messages(State.DEAD, task=task, queue=queue, limit=limit, offset=offset)
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
        table(session, head, rows, empty="there are no dead letters")

    emit(session, found, show)
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
@pass_session
def replay(session: Session, /, ids: tuple[str, ...], task: str | None, queue: str | None, every: bool) -> int:
    """Put dead letters back into their queues, with fresh counters; what waited for them waits again.

    Name IDs, or choose by --task, --queue, or --all. Exits with 1 when one of the IDs could not be replayed.

    \b
    JSON: {"replayed": [ids], "refused": [ids]}
    """
    storage = session.storage
    replayed: list[str] = []
    refused: list[str] = []
    for page in _chosen(session, ids, task, queue, every):
        done = storage.dead.requeue(page)
        replayed += done
        refused += [id_ for id_ in page if id_ not in set(done)]

    def write() -> None:
        click.echo(f"Replayed {counted(len(replayed), 'dead letter')}.")
        for id_ in refused:
            say(f"{id_}: {_why_refused(storage, id_)}")

    emit(session, {"replayed": replayed, "refused": refused}, write)
    return Exit.FAILED if refused else Exit.OK


def _why_refused(storage: Storage, id_: str) -> str:
    """The reason why a dead letter was not replayed, as far as it can still be seen."""
    record = storage.reader.find(id_)
    if record is None:
        return "there is no such message"
    if record.state is not State.DEAD:
        return f"it is no dead letter: it is {record.state}"
    return f"its unique key {record.unique_key!r} is taken by an unfinished message; replay it when that has ended"


@dead.command()
@click.argument("ids", nargs=-1)
@filters
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("-f", "--force", "--yes", "-y", "sure", is_flag=True, help="Do not ask.")
@pass_session
def drop(
    session: Session, /, ids: tuple[str, ...], task: str | None, queue: str | None, every: bool, sure: bool
) -> int:
    """Delete dead letters for good: IDs, or those of --task or --queue, or --all. Asks first, unless IDs are named.

    \b
    JSON: {"dropped"}
    """
    pages = _chosen(session, ids, task, queue, every)
    if not ids and (task or queue or every):
        narrowed = "".join(f" of {kind} {name!r}" for kind, name in (("task", task), ("queue", queue)) if name)
        confirm_deletion(f"all dead letters{narrowed}", sure=sure, option="--yes")
    dropped = sum(session.storage.dead.drop(page) for page in pages)

    def write() -> None:
        click.echo(f"Dropped {counted(dropped, 'dead letter')}.")
        if dropped < len(ids):
            say("The others are no dead letters, or an errback or an unfinished group still needs their error.")

    emit(session, {"dropped": dropped}, write)
    return Exit.FAILED if dropped < len(ids) else Exit.OK


def _chosen(
    session: Session, ids: Sequence[str], task: str | None, queue: str | None, every: bool
) -> Iterator[list[str]]:
    """The ids that were named, or all that match, in pages. Each is yielded once, whatever becomes of it meanwhile."""
    if ids and (task or queue or every):
        raise click.UsageError("give IDs, or --task, --queue or --all, not both")
    if not (ids or task or queue or every):
        raise click.UsageError("no dead letter is chosen; give IDs, or --task, --queue or --all")
    if ids:
        yield list(dict.fromkeys(ids))
        return
    seen: set[str] = set()
    left = 0  # those that stay dead letters stand before the others in the next page
    while True:
        page = session.storage.dead.matching(task=task, queue=queue, limit=PAGE + left)
        fresh = [id_ for id_ in page if id_ not in seen]
        if not fresh:
            return
        seen.update(fresh)
        yield fresh
        left = len(seen.intersection(session.storage.dead.matching(task=task, queue=queue, limit=PAGE + left)))
