"""`liteq flow schedule`: flows that beat starts by the clock."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from liteq.cli.flow.files import refused
from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import unknown
from liteq.cli.parts.output import emit, table
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.processes.flow_worker import package_is_there

__all__ = ["SCHEDULING"]


@click.command(cls=Command)
@click.argument(
    "files", metavar="FILE...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)  # fmt: skip
@click.option("--list", "lists", is_flag=True, help="List the flows that are scheduled.")
@click.option("--remove", metavar="NAME", help="Take this flow out. Runs that have begun go on.")
@pass_session
def schedule(session: Session, /, files: tuple[Path, ...], lists: bool, remove: str | None) -> int:
    """Have `liteq beat` start FILEs by the lines of their `schedule`, as they are now; a flow twice is one entry.

    A file that changes is scheduled again to count. Exits with 65 where a file is refused: then none is scheduled.

    \b
    JSON: [{"name", "schedule", "next", "file"}]
    """
    package_is_there()
    if (bool(files), lists, remove is not None).count(True) != 1:
        raise click.UsageError("give FILEs, or --list, or --remove NAME")
    from liteq_flow import FlowRefused, scheduling
    from liteq_flow.snapshot import take

    app = session.app
    if not files:
        session.storage.schedules.all()  # looking makes no file
    if remove is not None:
        if not scheduling.remove(app, remove):
            raise unknown("scheduled flow", remove, [one["name"] for one in scheduling.listed(app)])
        session.note(f"{remove} is not scheduled any more")
    elif files:
        try:
            snapshots = [(take(file), file) for file in {one.absolute(): one for one in files}.values()]
            for snapshot, file in snapshots:
                scheduling.can_be(snapshot, str(file))
        except FlowRefused as exc:
            return refused(exc)
        name, n = Counter(snapshot.whole.flow.name for snapshot, _ in snapshots).most_common(1)[0]
        if n > 1:
            raise click.UsageError(f"{n} of the files are the flow {name!r}: give each a `name` of its own")
        app.storage.migrate()
        for snapshot, file in snapshots:
            if (taken := scheduling.foreign(app, snapshot)) is not None:
                raise click.UsageError(f"{taken!r} is an entry of beat that is no flow: give {file} another `name`")
        names = [scheduling.add(app, snapshot) for snapshot, _ in snapshots]
        session.note(f"scheduled: {', '.join(names)}; `liteq beat` starts them, or a worker with -B")
    found = scheduling.listed(app)
    rows = [(one["name"], one["schedule"], one["next"] or "never", one["file"]) for one in found]
    emit(session, found, lambda: table(session, ("flow", "schedule", "next", "file"), rows, empty="none is scheduled"))
    return Exit.OK


SCHEDULING = (schedule,)
