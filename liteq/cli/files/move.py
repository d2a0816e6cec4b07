"""`liteq move`: all that waits goes from one store to another, such as from a file to a server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, say
from liteq.cli.parts.session import Session, as_read_only, pass_session
from liteq.cli.parts.voice import VOICE

if TYPE_CHECKING:
    from liteq.operating.moving import Standing
    from liteq.storage.storage import Storage

__all__ = ["move"]

TELL_S = 2.0  # between two words on how far it is


@click.command(cls=Command)
@click.option("--from", "source", metavar="URL", required=True, help="The queue whose messages go.")
@click.option("--to", "target", metavar="URL", help="The store that they go to; it is made where it is not there.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--give-up", is_flag=True, help="Open the source again, after a move that cannot be finished.")
@pass_session
def move(session: Session, /, source: str, target: str | None, dry_run: bool, give_up: bool) -> int:
    """Move all that waits to another store, once, with nobody at work: from a file to PostgreSQL, or back.

    Messages and runs that have not ended go, with the finished ones that they need, dead letters, schedules, limits,
    locks, memo and inbox; ids stay. Finished results that nothing waits for, and the history in the charts, stay where
    they are. A message that was moved is gone at the source.

    Stop all workers, producers and beats first: while a worker lives at either end, or where the target holds messages
    of its own, this exits with 75 and changes nothing. Both stores refuse every send and claim until it has ended. One
    that was stopped is finished by the same call again. With --give-up a source of which nothing has gone yet opens as
    it was; what the target holds by then is to be dropped.

    \b
    JSON: {"from", "to", "moved": N, "rows": {TABLE: N}, "dry_run"}; with --give-up {"from", "opened"}
    """
    from liteq.operating.moving import MoveRefused

    if target is None and not give_up:
        raise click.UsageError("name the store that the messages go to: --to URL")
    try:
        with closing(_source(session, source, looks=dry_run and not give_up)) as opened:
            if give_up:
                return _give_up(session, opened)
            return _move(session, opened, str(target), dry_run=dry_run)
    except MoveRefused as exc:
        VOICE.say("error", str(exc))
        return Exit.TRY_AGAIN


def _source(session: Session, url: str, *, looks: bool) -> Storage:
    """The source; `looks`: nothing is written to it. Raises StorageUnavailable where there is none."""
    from liteq.exceptions import StorageUnavailable
    from liteq.storage import describe_url

    if missing := describe_url(url).missing:
        raise StorageUnavailable(missing)
    storage = _opened(session, url, looks=looks)
    if not _version(storage):
        raise StorageUnavailable(f"{storage.driver.where()} holds no queue: there is nothing to move")
    return storage


def _opened(session: Session, url: str, *, looks: bool) -> Storage:
    """The store itself, without a codec: values go as they stand. Each step is on the disk before the next begins."""
    from liteq.storage import describe_url
    from liteq.storage.storage import open_storage

    place = describe_url(url)
    if looks and place.kind == "file" and not (place.missing or place.read_only):
        url = as_read_only(url)  # a copy, which has no log, gets none
    conf = session.app.conf if session.has_app else session.conf_without_app(needs_file=False)
    return open_storage(
        url, durability="strict", driver=conf.sqlite_driver, busy_timeout_s=conf.busy_timeout,
        allow_network_filesystem=conf.allow_network_filesystem, file_mode=int(conf.file_mode, 8),
        max_crashes=conf.max_crashes, max_reaps=conf.max_reaps,
    )  # fmt: skip


def _version(storage: Storage) -> int:
    version: int = storage.driver.describe(whole=False)["schema"]["version"]
    return version


def _move(session: Session, source: Storage, url: str, *, dry_run: bool) -> int:
    from liteq.operating import moving
    from liteq.storage import describe_url

    with closing(_opened(session, url, looks=dry_run)) as target:
        if target.driver.where() == source.driver.where():
            raise click.UsageError("--from and --to are the same store")
        if not dry_run:
            source.driver.migrate()
        is_there = not describe_url(url).missing and bool(_version(target))
        standing = moving.look(source, target if is_there else None)
        if dry_run or standing.is_nothing:
            return _tell(session, source, target, standing, 0, dry_run=dry_run)
        target.driver.migrate()
        if standing.begun is not None:
            session.note("a move that was stopped is finished")
        return _tell(session, source, target, standing, _steps(session, source, target), dry_run=False)


def _steps(session: Session, source: Storage, target: Storage) -> int:
    """Do it, with a word now and then; how many messages are at the target now."""
    from liteq.operating import moving

    told_at, moved = time.monotonic(), 0
    for step in moving.move(source, target):
        if step.doing == moving.DONE:
            moved = step.n
        elif time.monotonic() - told_at >= TELL_S:
            told_at = time.monotonic()
            session.note(f"{step.doing}: {step.n:,} of {step.total:,} rows")
    return moved


def _tell(session: Session, source: Storage, target: Storage, standing: Standing, moved: int, *, dry_run: bool) -> int:
    rows = {table.removeprefix("liteq_"): n for table, n in standing.counts.items() if n}
    places = {"from": source.driver.where(), "to": target.driver.where()}
    document: dict[str, Any] = {**places, "moved": moved, "rows": rows, "dry_run": dry_run}
    emit(session, document, lambda: say(_said(places, standing, rows, moved, dry_run=dry_run)))
    return Exit.OK


def _said(places: Mapping[str, str], standing: Standing, rows: Mapping[str, int], moved: int, *, dry_run: bool) -> str:
    if standing.is_nothing:
        return f"Nothing to move: nothing waits at {places['from']}."
    if dry_run and standing.begun is not None:
        return f"A move from {places['from']} to {places['to']} was stopped: without --dry-run, this finishes it."
    if dry_run:
        parts = ", ".join(f"{n:,} in {table}" for table, n in rows.items())
        return f"Would move from {places['from']} to {places['to']}: {parts}."
    return f"Moved {counted(moved, 'message')} from {places['from']} to {places['to']}."


def _give_up(session: Session, source: Storage) -> int:
    from liteq.operating import moving

    opened = moving.give_up(source)
    where = source.driver.where()
    text = f"{where} is open again; drop what the target holds." if opened else f"{where} is not being moved."
    emit(session, {"from": where, "opened": opened}, lambda: say(text))
    return Exit.OK
