"""`liteq backup`: a consistent copy while others work; or one each hour, of which the newest are kept."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.many import db_option, each_file, sessions
from liteq.cli.parts.output import emit, json_text, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import span_option
from liteq.cli.parts.voice import VOICE
from liteq.exceptions import StorageError, StorageUnavailable
from liteq.utils.text import span

if TYPE_CHECKING:
    from liteq.operating.backups import Backups, Taken

__all__ = ["backup"]

AGAIN_S = 60.0  # until a backup that failed is tried again, if the next one is not due before


@click.command(cls=Command)
@click.argument("target", type=click.Path(path_type=Path), required=False)
@click.option("--to", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Into this folder, named by time.")
@click.option("--every", metavar="SPAN", callback=span_option, help="With --to: now, then again after 30m, 1h, 1d, ...")
@click.option("--keep", metavar="N", type=click.IntRange(min=1), help="With --to: remove all but the N newest.")
@db_option("Copy")
@pass_session
def backup(
    session: Session, /, target: Path | None, folder: Path | None, every: float | None, keep: int | None,
    db: tuple[str, ...],
) -> int:  # fmt: skip
    """Write a consistent copy of the queue to TARGET, or into a folder with --to.

    Workers and producers go on meanwhile. The copy has passed SQLite's integrity check before it gets its name, and
    none is ever overwritten: it exits with 73 where TARGET is there already.

    `liteq backup --every 1h --keep 24 --to DIR` runs until TERM or INT; a backup that is being written is finished
    then. One that fails is told of and tried again, and removes none of before. Only files of this queue's name and a
    time, as words-20261128T225300Z.db, are removed.

    With --db, TARGET is a folder: each of the files is copied into it, under its own name.

    \b
    JSON: {"path", "bytes"}; with --to an object a line: {"path", "bytes", "seconds", "removed": [path]}, and with
    --every {"error", "again_s"} for one that failed; with --db {PATH: {"path", "bytes"}, or {"error"}}
    """
    if db:
        return _of_files(session, db, target, folder, every, keep)
    if folder is None:
        if every is not None or keep is not None:
            raise click.UsageError("--every and --keep need a folder: --to DIR")
        if target is None:
            raise click.UsageError("name the file to write, or a folder with --to DIR")
        return _one(session, target)
    if target is not None:
        raise click.UsageError(f"name a file or a folder, not both: {target} and --to {folder}")
    return _into_folder(session, folder, every, keep)


def _of_files(
    session: Session, db: tuple[str, ...], target: Path | None, folder: Path | None, every: float | None,
    keep: int | None,
) -> int:  # fmt: skip
    """Copy each file of `db` into the folder `target`, under its own name. Raises UsageError."""
    if folder is not None or every is not None or keep is not None:
        raise click.UsageError("--db copies into a folder: name it alone, without --to, --every and --keep")
    if target is None or target.is_file():
        raise click.UsageError("with --db name the folder for the copies")
    names = Counter(Path(one.path).name for one in sessions(session, db))
    twice = next((name for name, n in names.items() if n > 1), None)
    if twice is not None:
        raise click.UsageError(f"several files of --db are called {twice}: copy them into a folder each")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        VOICE.say("error", f"the folder {target} cannot be made: {exc.strerror}")
        return Exit.CANNOT_CREATE
    return each_file(session, db, lambda one: _into(one, target / Path(one.path).name))


def _into(session: Session, target: Path) -> int:
    if target.exists():
        raise StorageUnavailable(f"{target} is there already, and no copy is overwritten: name another folder")
    return _one(session, target)


def _one(session: Session, target: Path) -> int:
    storage = session.storage
    if target.exists() or not target.parent.is_dir():
        why = "is there already: name another file" if target.exists() else "has no folder: create that first"
        click.echo(f"liteq: error: {target} {why}", err=True)
        return Exit.CANNOT_CREATE
    storage.backup(target)
    size = target.stat().st_size
    emit(session, {"path": str(target.resolve()), "bytes": size}, lambda: say(f"Wrote {target} ({size:,} bytes)."))
    return Exit.OK


def _into_folder(session: Session, folder: Path, every: float | None, keep: int | None) -> int:
    from liteq.operating.backups import BackupRefused, BackupRunning, Backups
    from liteq.storage import describe_url

    if describe_url(session.app.broker_url).kind != "file":
        session.storage.backup(folder)  # refuses, with what to use; before a lock is made in the folder
    try:
        backups = Backups(folder.resolve(), Path(session.storage.driver.where()))
        if every is not None:
            return _for_ever(session, backups, every, keep)
        _tell(session, backups.take(session.storage, keep=keep))
    except (BackupRefused, BackupRunning) as exc:
        VOICE.say("error", str(exc))
        return Exit.CANNOT_CREATE if isinstance(exc, BackupRefused) else Exit.TRY_AGAIN
    return Exit.OK


def _for_ever(session: Session, backups: Backups, every_s: float, keep: int | None) -> int:
    from liteq.cli.processes.beat import stopped_by_signals

    stop = stopped_by_signals()
    due = time.monotonic()
    while not stop.is_set():
        try:
            taken = backups.take(session.storage, keep=keep)
        except (StorageError, OSError) as exc:
            again_s = min(every_s, AGAIN_S)
            due = time.monotonic() + again_s
            _tell_error(session, exc, again_s)
        else:
            due = max(due + every_s, time.monotonic())
            _tell(session, taken)
        finally:
            session.storage.close()  # nothing stays open: the queue may be restored meanwhile
        stop.wait(max(0.0, due - time.monotonic()))
    return Exit.OK


def _tell(session: Session, taken: Taken) -> None:
    removed = [str(path) for path in taken.removed]
    document = {"path": str(taken.path), "bytes": taken.size, "seconds": taken.seconds, "removed": removed}
    less = f"; removed {len(removed):,} old" if removed else ""
    text = f"Wrote {taken.path} ({taken.size:,} bytes, {span(taken.seconds)}){less}."
    _line(session, document, text)


def _tell_error(session: Session, exc: Exception, again_s: float) -> None:
    if session.json:
        _line(session, {"error": str(exc), "again_s": again_s}, "")
    else:
        VOICE.say("error", f"no backup: {exc}; again in {span(again_s)}")


def _line(session: Session, document: dict[str, Any], text: str) -> None:
    if session.json:
        click.echo(json_text(document, lines=True))
    else:
        say(text)
