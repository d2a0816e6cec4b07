"""`liteq flow run` and `liteq flow wait`: start a flow, bring a worker for it, tell how it ended."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.output import emit, say
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.processes.flow_worker import package_is_there
from liteq.exceptions import NotSerializable, PayloadTooLarge, RunConflict, RunNotFound
from liteq.utils.names import checked_id
from liteq.utils.text import as_command

__all__ = ["RUNNING"]

AT_ONCE = 8
here_options = (
    click.option("--here", is_flag=True, help="Bring a worker for it: one command is enough."),
    click.option(
        "-c", "--concurrency", type=click.IntRange(min=1),
        help=f"With --here: commands at once, {AT_ONCE} unless said.",
    ),
)  # fmt: skip


def _here(command: Any) -> Any:
    for option in reversed(here_options):
        command = option(command)
    return command


@click.command("run", cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-p", "--param", "pairs", multiple=True, metavar="K=V", help="A param. May be repeated.")
@click.option("--params-json", metavar="JSON", help="Params as a JSON object, with their types.")
@click.option("--id", "id_", metavar="ID", help="The run's id: the same file and params again are the same run.")
@_here
@click.option("--wait", "waits", is_flag=True, help="Wait until it has ended, or waits for a person.")
@pass_session
def run(
    session: Session, /, file: Path, pairs: tuple[str, ...], params_json: str | None, id_: str | None, here: bool,
    concurrency: int | None, waits: bool,
) -> int:  # fmt: skip
    """Start a run of a flow, and print its id.

    Exits with 65 or 2 where the file or the params are refused, before anything is written. With --here or --wait: 0 if
    it has succeeded, 1 if it has failed, 75 if nothing but a person or an event can have it go on.

    \b
    JSON: {"id", "name", "status", "outputs", "waiting": [{"step", "prompt", "form"}],
    "steps": [{"id", "name", "status", "attempts", "exit_code", "started", "finished"}]}
    """
    package_is_there()
    _check(here, concurrency, id_)
    made = _started(session, file, _given(pairs, params_json), id_)
    if here or waits:
        return _ended(session, made.id, here=here, concurrency=concurrency)
    from liteq_flow.report import report

    if session.json:
        emit(session, report(session.app, made.id), lambda: None)
    else:
        say(made.id)
    return Exit.OK


def _check(here: bool, concurrency: int | None, id_: str | None) -> None:
    """Raise UsageError for options that are none together, and for an id that is none."""
    if concurrency is not None and not here:
        raise click.UsageError("-c goes with --here; a worker that is there has a -c of its own")
    try:
        checked_id("unsaid" if id_ is None else id_)
    except ValueError as exc:
        raise click.UsageError(f"the id of the run: {exc}") from None


def _given(pairs: tuple[str, ...], text: str | None) -> dict[str, Any]:
    """The params of the command line. Raises Refused."""
    from liteq_flow.errors import FlowRefused
    from liteq_flow.reader.params import from_json, from_text

    try:
        return {**({} if text is None else from_json(text)), **dict(from_text(pair) for pair in pairs)}
    except FlowRefused as exc:
        raise Refused(str(exc), Exit.USAGE) from None


def _started(session: Session, file: Path, given: dict[str, Any], id_: str | None) -> Any:
    from liteq_flow.errors import FlowRefused
    from liteq_flow.reader.params import checked
    from liteq_flow.snapshot import take
    from liteq_flow.starting import start

    try:
        snapshot = take(file)
    except FlowRefused as exc:
        raise Refused(str(exc), Exit.DATA) from None
    flow = snapshot.whole.flow
    try:
        params = checked(flow, given)
    except FlowRefused as exc:
        raise Refused(str(exc), Exit.USAGE) from None
    session.app.storage.migrate()
    try:
        return start(session.app, snapshot, flow, snapshot.file, params, id=id_)
    except (NotSerializable, PayloadTooLarge) as exc:
        raise Refused(f"the params of {flow.name}: {exc}", Exit.USAGE) from None
    except RunConflict:
        raise Refused(
            f"the run {id_} is there already, of another file or with other params: it goes on with those; "
            f"{as_command('flow wait', str(id_))} waits for it, another --id starts a new one",
            Exit.USAGE,
        ) from None


class Refused(click.ClickException):
    """Raised before anything is written: the lines, and the code to exit with."""

    def __init__(self, text: str, code: Exit) -> None:
        super().__init__(text)
        self.exit_code = int(code)  # type: ignore[misc]


@click.command("wait", cls=Command)
@click.argument("id_", metavar="ID")
@_here
@pass_session
def wait(session: Session, /, id_: str, here: bool, concurrency: int | None) -> int:
    """Wait until the run ID has ended, or waits for a person or an event, and tell how.

    Exits with 0 if it has succeeded, 1 if it has failed, 75 if it waits.

    \b
    JSON: as `run`
    """
    package_is_there()
    _check(here, concurrency, id_)
    session.needs_file()
    return _ended(session, id_, here=here, concurrency=concurrency)


def _ended(session: Session, id_: str, *, here: bool, concurrency: int | None) -> int:
    """Wait for a run: its exit code. Its report is written."""
    from liteq_flow.here import queues_of, strangers, until_rest, worker
    from liteq_flow.report import find, report, text_of_report

    try:
        find(session.app, id_)
    except RunNotFound as exc:
        raise click.ClickException(str(exc)) from None
    if here and (task := strangers(session.app, queues_of(session.app, id_))) is not None:
        raise click.UsageError(
            f"the task {task!r} waits in the queue of the run {id_}, and the worker of --here would not know it: name "
            f"the app with -A, or leave out --here and start a worker for the run"
        )
    brings = worker(session, queues_of(session.app, id_), concurrency or AT_ONCE) if here else nullcontext()
    with brings as process:
        until_rest(session.app, id_, process)
    document = report(session.app, id_)
    emit(session, document, lambda: say("\n".join(text_of_report(document))))
    return {"succeeded": Exit.OK, "failed": Exit.FAILED, "aborted": Exit.FAILED}.get(document["status"], Exit.TRY_AGAIN)


RUNNING = (run, wait)
