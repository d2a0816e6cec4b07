"""`liteq doctor`: is the file sound, and is it where a queue can live?"""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from liteq._version import __version__
from liteq.cli.exits import Exit
from liteq.cli.group import Command
from liteq.cli.output import counted, emit, table
from liteq.cli.session import Session, pass_session
from liteq.context.identity import is_dead
from liteq.monitor.workers import living
from liteq.states import State
from liteq.storage.sqlite.files import NETWORK

__all__ = ["doctor"]

MIB = 1024 * 1024
LITTLE_SPACE = 64 * MIB

# What liteq sets, and what a different value would mean.
PRAGMAS: dict[str, tuple[object, str]] = {
    "journal_mode": ("wal", "readers and the writer wait for each other"),
    "foreign_keys": (1, "set anew by each connection"),
    "trusted_schema": (0, "set anew by each connection"),
    "wal_autocheckpoint": (0, "unguarded checkpoints can damage the file"),
    "auto_vacuum": (2, "the file never shrinks: it was not made by liteq"),
}


class Check(NamedTuple):
    """One finding: `status` is ok, warning or error."""

    name: str
    status: str
    detail: str


@click.command(cls=Command)
@pass_session
def doctor(session: Session, /) -> int:
    """Examine the file and what it lives on.

    Exits with 1 when something is wrong. It reads the whole file, for the integrity check.

    \b
    JSON: {"ok", "checks": [{"name", "status": "ok"|"warning"|"error", "detail"}], "storage": {...}}
    """
    facts = session.storage.describe()
    checks = [*_of_file(facts), *_of_place(facts), *_of_queue(session)]
    sound = all(check.status != "error" for check in checks)
    document = {"ok": sound, "checks": [check._asdict() for check in checks], "storage": facts}
    emit(session, document, lambda: table(session, Check._fields, checks, empty=""))
    return Exit.OK if sound else Exit.FAILED


def _of_file(facts: dict[str, Any]) -> Iterator[Check]:
    yield Check("versions", "ok", f"liteq {__version__}, Python {platform.python_version()}, {platform.platform()}")
    library = f"{facts['library']} {facts['library_version']}, SQLite {facts['sqlite_version']}"
    yield Check("library", "ok", f"{library}, source id {facts['sqlite_source_id']}")
    if facts["wal_reset_bug"]:
        yield Check(
            "known bugs", "warning",
            "the WAL-reset bug (SQLite 3.7.0 - 3.51.2): liteq's own checkpoints are guarded against it; nothing else "
            "may write to the file. The default driver, apsw, is free of it",
        )  # fmt: skip
    else:
        yield Check("known bugs", "ok", "free of the WAL-reset bug")
    schema = facts["schema"]
    yield Check("schema", "ok", f"version {schema['version']}, may be written by {schema['min_writer']} and newer")
    for name, (wanted, otherwise) in PRAGMAS.items():
        found = facts["pragmas"].get(name)
        if found != wanted:
            serious = name in {"journal_mode", "wal_autocheckpoint"}
            yield Check(name, "error" if serious else "warning", f"is {found}, not {wanted}: {otherwise}")
    yield Check("pragmas", "ok", ", ".join(f"{name}={value}" for name, value in facts["pragmas"].items()))
    yield Check("durability", "ok", facts["durability"])
    if facts["integrity"] == "ok":
        yield Check("integrity", "ok", f"{facts['size']:,} bytes checked")
    else:
        found = "; ".join(facts["integrity"][:3])
        yield Check("integrity", "error", f"damaged: {found}. Stop the workers and restore a backup")


def _of_place(facts: dict[str, Any]) -> Iterator[Check]:
    path = Path(facts["path"])
    kind = facts["file_system"]
    if kind in NETWORK:
        yield Check("file system", "error", f"{path} is on {kind}: over a network SQLite's log gets damaged")
    else:
        yield Check("file system", "ok", f"{path} on {kind}")
    yield from _permissions(path)
    free = shutil.disk_usage(path.parent).free
    status = "warning" if free < LITTLE_SPACE else "ok"
    yield Check("disk", status, f"{free // MIB:,} MiB free")
    log = facts["wal_size"]
    if facts["warnings"]:
        yield Check("log", "warning", facts["warnings"][0])
    else:
        yield Check("log", "ok", f"{log:,} bytes in {path.name}-wal")


def _permissions(path: Path) -> Iterator[Check]:
    if os.name != "posix":
        return
    status, folder = path.stat(), path.parent.stat()
    shown = f"{stat.filemode(status.st_mode)} uid {status.st_uid} gid {status.st_gid}"
    if status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Check("permissions", "warning", f"{shown}: every user of this machine can open it; chmod 600 {path}")
    elif folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        yield Check("permissions", "warning", f"every user may replace files in {path.parent}: chmod o-w {path.parent}")
    else:
        yield Check("permissions", "ok", shown)


def _of_queue(session: Session) -> Iterator[Check]:
    alive = living(session.app)
    workers = session.storage.workers()
    gone = [worker for worker in workers if is_dead(worker.identity)]
    names = ", ".join(worker.name for worker in alive)
    yield Check("workers", "ok", f"{counted(len(alive), 'worker')}" + (f": {names}" if names else ""))
    held = sum(worker.leased for worker in gone)
    if held and not alive:
        yield Check(
            "dead workers", "warning", f"{counted(held, 'message')} held by processes that are gone: start a worker"
        )
    totals = dict.fromkeys(State, 0)
    for count in session.storage.counts():
        totals[count.state] += count.n
    shown = ", ".join(f"{n:,} {state}" for state, n in totals.items() if n) or "empty"
    yield Check("messages", "ok", shown)
    late = totals[State.PENDING] and not alive
    if late:
        yield Check("waiting", "warning", f"{counted(totals[State.PENDING], 'message')} to run, and no worker")
