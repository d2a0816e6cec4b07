"""The commands that move whole runs: export, import, gc."""

from __future__ import annotations

from typing import IO

import click

from liteq.cli.group import Command
from liteq.cli.parts.asking import SURE, confirm_deletion
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import counted, emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN
from liteq.cli.workflow.choosing import PAGE, found
from liteq.exceptions import BadMessage
from liteq.serialization import decode
from liteq.storage.storage import Storage
from liteq.utils.text import span

__all__ = ["MOVING", "bring"]


@click.command("export", cls=Command)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--sensitive", "whole", is_flag=True, help="With the arguments that the code calls sensitive.")
@pass_session
def export(session: Session, /, ids: tuple[str, ...], whole: bool) -> int:
    """Write runs with all their history, a line of JSON each, for `import`, `replay --from`, or as a test's recording.

    Arguments that the workflow calls sensitive are hidden, also where results and errors quote them. Without -A all
    arguments are, as only the app's code says which are sensitive. A run that is to go on elsewhere needs --sensitive.
    """
    from liteq.monitor.runs.run_export import exported, line_of

    names = [found(session, id_).name for id_ in ids]  # all or none
    if not whole:
        session.tell_hidden(names)
    for id_ in dict.fromkeys(ids):
        click.echo(line_of(exported(session.app, id_, whole=whole)))
    return Exit.OK


@click.command("import", cls=Command)
@click.argument("file", type=click.File("rb"), default="-")
@pass_session
def import_(session: Session, /, file: IO[bytes]) -> int:
    """Import runs from FILE (or stdin) that `export` wrote. An unfinished run is stuck until it is resumed.

    Exits with 1 at the first id that is in use. The runs before it are imported.

    \b
    JSON: [{"id"}]
    """
    ids = bring(session.app.storage, file)
    emit(session, [{"id": id_} for id_ in ids], lambda: say(f"{counted(len(ids), 'run')} imported."))
    return Exit.OK


def bring(storage: Storage, file: IO[bytes]) -> list[str]:
    """Write each run of an export into `storage`; their ids."""
    ids: list[str] = []
    for n, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            document = decode(line)
            if not isinstance(document, dict):
                raise BadMessage("the line is not a JSON object")
            ids.append(storage.runs.bring(document))
        except (BadMessage, KeyError, TypeError) as exc:
            raise click.ClickException(
                f"line {n} is not a run that `liteq workflow export` wrote: {exc!s:.300}"
            ) from None
    return ids


@click.command("gc", cls=Command)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--older-than",
    "--older",
    "age_s",
    type=SPAN,
    help="Delete runs that ended longer ago: 12h, 30d; default: workflow_expires.",
)
@SURE
@pass_session
def gc(session: Session, /, ids: tuple[str, ...], age_s: float | None, sure: bool) -> int:
    """Delete ended runs and their histories: the runs of IDs, or all old ones. Workers do the latter by themselves.

    Asks first with --older-than.

    \b
    JSON: [{"deleted"}]
    """
    if ids and age_s is not None:
        raise click.UsageError("give IDs or --older-than, not both")
    storage = session.storage.runs
    if ids:
        for id_ in ids:
            found(session, id_)
        deleted = storage.delete(list(dict.fromkeys(ids)))
    else:
        if age_s is None:
            age_s = session.app.conf.workflow_expires
        else:
            age_s = age_s or 0.001  # 0 would mean: never
            confirm_deletion(f"all runs that ended more than {span(age_s)} ago", sure=sure, option="--yes")
        deleted = 0
        while n := storage.expire(age_s, limit=PAGE):
            deleted += n

    def write() -> None:
        say(f"{counted(deleted, 'run')} deleted." if ids else f"{counted(deleted, 'row')} deleted.")
        if ids and deleted < len(set(ids)):
            say("The others have not ended, or something that is unfinished still needs them.")

    emit(session, [{"deleted": deleted}], write)
    return Exit.FAILED if ids and deleted < len(set(ids)) else Exit.OK


MOVING = (export, import_, gc)
