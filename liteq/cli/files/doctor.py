"""`liteq doctor`: is the file sound, and where a queue can live, does the work in it go on? With --fix it helps."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from importlib import metadata
from typing import Any

import click

from liteq._version import __version__
from liteq.cli.group import Command
from liteq.cli.parts.asking import SURE, agreed
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.many import db_option, each_file
from liteq.cli.parts.output import counted, emit, say, table
from liteq.cli.parts.session import Session, pass_session
from liteq.context.identity import is_dead
from liteq.exceptions import LiteqError, StorageError
from liteq.monitor.findings import findings
from liteq.monitor.workers import living
from liteq.storage.storage import Storage
from liteq.storage.upkeep import Check, Remedy
from liteq.utils.records import NamedTuple

__all__ = ["doctor"]

# Versions with which the tests of the extras were run. Another major version may have another interface.
TRIED = {"mcp": "2.3", "pydantic-ai-slim": "2.68", "langgraph": "1.2", "openai-agents": "0.24"}


class Treated(NamedTuple):
    """A remedy that was offered: whether it was done, and what came of it."""

    name: str
    says: str
    done: bool
    result: str


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Set right what can be without a loss: says what, asks, and does it.")
@SURE
@db_option("Check")
@pass_session
def doctor(session: Session, /, fix: bool, sure: bool, db: tuple[str, ...]) -> int:
    """Check the queue's file, the disk it is on, and whether the work in it goes on.

    Exits with 1 when something is wrong (an error; a warning is no reason): a damaged file, messages that no worker
    takes, schedules that no beat sends. The integrity check reads the whole file and its log. Nothing is written.

    With --fix: copies that killed restores left, files that other users can open, leases of workers that are gone,
    indexes that are damaged or missing, and free pages, which go back to the disk. It asks about each, and touches no
    message; workers may go on meanwhile. It exits as a check after it does.

    \b
    JSON: {"ok", "checks": [{"name", "status": "ok"|"warning"|"error", "detail"}], "storage": {...}}; with --fix also
    "fixes": [{"name", "says", "done", "result"}], and the rest is as it was after it; with --db {PATH: that, or
    {"error"}}
    """
    if sure and not fix:
        raise click.UsageError("--yes goes with --fix")
    if db:
        return each_file(session, db, lambda one: _doctor(one, fix=fix, sure=sure))
    return _doctor(session, fix=fix, sure=sure)


def _doctor(session: Session, *, fix: bool, sure: bool) -> int:
    url = session.app.broker_url
    session.look_only()  # also with --fix: what is damaged must be seen before anything is written
    facts, checks = _look(session)
    fixes: list[Treated] | None = None
    if fix:
        _show(session, checks)
        with closing(session.app.open_storage(url)) as storage:
            fixes = _treat(session, _remedies(storage, facts, checks), sure=sure)
        facts, checks = _look(session)
    sound = all(check.status != "error" for check in checks)
    document = {"ok": sound, "checks": [check._asdict() for check in checks], "storage": facts}
    if fixes is None:
        emit(session, document, lambda: _show(session, checks))
    else:
        wrong = [check for check in checks if check.status == "error"]
        emit(session, {**document, "fixes": [one._asdict() for one in fixes]}, lambda: _show_rest(session, wrong))
    return Exit.OK if sound else Exit.FAILED


def _look(session: Session) -> tuple[dict[str, Any], list[Check]]:
    driver = session.storage.driver
    facts = driver.describe()
    of_queue = list(_of_queue(session))
    told = {check.name for check in of_queue}  # of workers both know; this one says which
    return facts, [
        _versions(),
        *_libraries(),
        *(check for check in driver.checks(facts) if check.name not in told),
        *_replication(session),
        *of_queue,
    ]


def _show(session: Session, checks: Sequence[Check]) -> None:
    if not session.json:
        table(session, Check._fields, checks, empty="")


def _show_rest(session: Session, wrong: Sequence[Check]) -> None:
    if wrong:
        say("Still wrong:")
        _show(session, wrong)


# -- to set right ----------------------------------------------------------------------------------------------------


def _remedies(storage: Storage, facts: dict[str, Any], checks: Sequence[Check]) -> list[Remedy]:
    damaged = any(check.name == "integrity" and check.status == "error" for check in checks)
    return [*storage.driver.remedies(facts), *(() if damaged else _leases(storage))]


def _treat(session: Session, remedies: Sequence[Remedy], *, sure: bool) -> list[Treated]:
    """Say, ask and do, one after the other: a later one may be wanted where an earlier one is not."""
    if not remedies:
        session.note("there is nothing that --fix sets right")
    if not session.json:
        for one in remedies:
            say(f"to do: {one.says}")
    fixes = []
    for one in remedies:
        done, result = False, "left as it is"
        if agreed(f"{one.name}: {one.says}?", f"this is to {one.says}", sure=sure, option="--yes"):
            try:
                done, result = True, one.do()
            except (StorageError, OSError) as exc:  # the others may do all the same
                done, result = False, str(exc)
        fixes.append(Treated(one.name, one.says, done, result))
        if not session.json:
            say(f"{one.name}: {result}")
    return fixes


def _leases(storage: Storage) -> Iterator[Remedy]:
    """A living worker ends them within a second: they stay where none is started any more."""
    here = storage.driver.one_machine
    gone = [worker for worker in storage.reader.workers() if is_dead(worker.identity, one_machine=here)]
    if gone:
        held = sum(worker.leased for worker in gone)
        says = f"take {counted(len(gone), 'worker')} off the list, of which the processes are gone"
        back = f", and put {counted(held, 'message')} that they held back into the queues" if held else ""
        yield Remedy("leases", says + back, partial(_bury, storage, [worker.id for worker in gone]))


def _bury(storage: Storage, workers: Sequence[int]) -> str:
    reaped = storage.reap(workers, expired=False)
    return f"{counted(len(workers), 'worker')} off the list, {counted(reaped, 'message')} back"


# -- to look at ------------------------------------------------------------------------------------------------------


def _versions() -> Check:
    return Check("versions", "ok", f"liteq {__version__}, Python {platform.python_version()}, {platform.platform()}")


def _libraries() -> Iterator[Check]:
    """The libraries of agents that are installed, beside the versions that liteq was tried with."""
    found = {name: version for name in TRIED if (version := _installed(name)) is not None}
    if found:
        newer = [name for name, version in found.items() if version.split(".")[0] != TRIED[name].split(".")[0]]
        told = ", ".join(f"{name} {version} (tried: {TRIED[name]})" for name, version in found.items())
        yield Check("libraries", "warning" if newer else "ok", told)


def _replication(session: Session) -> Iterator[Check]:
    """Whether calls with replicated=True could be sent now; nothing where none is meant to be."""
    control = session.app.conf.litestream_socket
    if not control:
        return
    try:
        session.storage.driver.replicator(control).close()
    except LiteqError as exc:
        yield Check("replication", "warning", str(exc))
    else:
        yield Check("replication", "ok", f"Litestream copies it, and answers at {control}")


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _of_queue(session: Session) -> Iterator[Check]:
    alive = living(session.app)
    workers = session.storage.reader.workers()
    here = session.storage.driver.one_machine
    gone = [worker for worker in workers if is_dead(worker.identity, one_machine=here)]
    names = ", ".join(worker.name for worker in alive)
    yield Check("workers", "ok", f"{counted(len(alive), 'worker')}" + (f": {names}" if names else ""))
    held = sum(worker.leased for worker in gone)
    if held and not alive:
        yield Check(
            "dead workers", "warning",
            f"{counted(held, 'message')} held by processes that are gone: start a worker, or `liteq doctor --fix`",
        )  # fmt: skip
    totals = session.storage.views.states()
    shown = ", ".join(
        f"{found.n:,}{'' if found.exact else ' or more'} {state}" for state, found in totals.items() if found.n
    )
    yield Check("messages", "ok", shown or "empty")
    if session.storage.operations.is_being_moved():
        yield Check("move", "error", "shut by a `liteq move` that has not ended: the same call again finishes it")
    for finding in findings(session.app):
        yield Check(*finding)
