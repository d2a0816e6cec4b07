"""`liteq workflow replay --check`: the histories of runs against the code, before it is deployed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.workflow.choosing import Choice, found, matching
from liteq.cli.workflow.moving import bring
from liteq.storage.runs.records import RunRecord

__all__ = ["replay"]


@click.command("replay", cls=Command)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--check", is_flag=True, required=True, help="Required: compare only.")
@click.option(
    "--from", "file", type=click.File("rb"), metavar="FILE", help="Check the runs of an export, not those of the queue."
)
@pass_session
def replay(session: Session, /, ids: tuple[str, ...], check: bool, file: IO[bytes] | None) -> int:  # noqa: ARG001 - see its help
    """Check whether this code fits the histories of all runs, or of the runs of IDs.

    Each body is run, and its calls are answered from history. It stops at the first call that history does not hold.
    No step runs, and nothing is written. Exits with 1 if the calls of a body differ from its history.

    \b
    JSON: [{"id", "name", "status", "steps", "ok", "position", "recorded", "found", "error"}]
    """
    from liteq.monitor.runs.run_replay import compared

    if not session.has_app:
        raise click.UsageError("name the app whose code is to be checked with -A")
    if file is None:
        session.import_commands()
        documents = [compared(session.app, run) for run in _runs(session, ids)]
        return _tell(session, documents)
    with tempfile.TemporaryDirectory(prefix="liteq-replay-") as folder:
        session.broker = f"sqlite:///{Path(folder) / 'histories.db'}"
        session.import_commands()
        session.app.close()  # the queue itself, where its modules have opened it
        try:
            bring(session.app.storage, file)
            documents = [compared(session.app, run) for run in _runs(session, ids)]
        finally:
            session.app.close()
    return _tell(session, documents)


def _runs(session: Session, ids: tuple[str, ...]) -> Iterator[RunRecord]:
    if ids:
        yield from (found(session, id_) for id_ in dict.fromkeys(ids))
        return
    for page in matching(session, Choice()):
        yield from page


def _tell(session: Session, documents: list[dict[str, Any]]) -> int:
    wrong = [one for one in documents if not one["ok"]]

    def write() -> None:
        for one in wrong:
            say(f"{one['name']} {one['id']} ({one['status']}): {one['error']}")
        checked = f"{counted(len(documents), 'run')} checked"
        say(f"{checked}: {len(wrong):,} would not go on with this code." if wrong else f"{checked}: this code fits.")

    emit(session, documents, write)
    return Exit.FAILED if wrong else Exit.OK
