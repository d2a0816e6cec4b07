"""`liteq control`: ask the workers that live for something."""

from __future__ import annotations

from typing import Any

import click

from liteq.app.control import flatten_reply
from liteq.cli.group import Command
from liteq.cli.parts.asking import acting
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import names, unknown
from liteq.cli.parts.remote import arguments_of, ask, commands_of, list_commands, show_answers
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.parts.spans import SPAN

__all__ = ["control"]

GLOBAL_RATE = "global_rate_limit"
IN_THE_FILE = {f"{GLOBAL_RATE} <task_name> <rate_limit>": "Set what all workers together start of a task: 100/h, 0."}


def _list(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        list_commands("control", IN_THE_FILE)
        ctx.exit()


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("command", metavar="COMMAND")
@click.argument("arguments", nargs=-1)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="The commands, explained."
)
@click.option("-t", "--timeout", type=SPAN, default=1.0, show_default=True, help="How long to wait for answers.")
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, comma-separated.")
@acting
@pass_session
def control(
    session: Session, /, command: str, arguments: tuple[str, ...], timeout: float, destination: str | None
) -> int:
    """Ask the workers that live for something. COMMAND is one of those that `liteq control --list` explains.

    Returns as soon as each of them has answered; with 69 when none does, and with 1 when one could not do it. What
    waits in the queue is revoked also where no worker lives; a global rate limit is set in the file.

    \b
    JSON: {worker: {"ok": text} or {"error": text}}
    """
    if command == GLOBAL_RATE:
        return _global_rate_limit(session, arguments)
    session.import_commands()
    if command not in (known := commands_of("control")):
        raise unknown("command", command, [*known, GLOBAL_RATE])
    built = arguments_of("control", command, arguments)
    if command not in {"revoke", "terminate"}:
        answers = ask(session, command, built, destination=destination, timeout_s=timeout)
        return show_answers(session, answers, count=False)
    if not built["task_id"]:
        raise click.UsageError(f"usage: liteq control {command} {known[command].signature}")
    return _revoke(session, built, terminate=command == "terminate", destination=destination, timeout=timeout)


def _global_rate_limit(session: Session, arguments: tuple[str, ...]) -> int:
    if len(arguments) != 2:
        raise click.UsageError(f"usage: liteq control {GLOBAL_RATE} <task_name> <rate_limit>")
    _ = session.storage  # refuses a file that is not there
    try:
        session.app.control.global_rate_limit(*arguments)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    session.note(f"all workers on this file keep to it: {arguments[0]} {arguments[1]}")
    return Exit.OK


def _revoke(
    session: Session, built: dict[str, Any], *, terminate: bool, destination: str | None, timeout: float
) -> int:
    _ = session.storage  # refuses a file that is not there
    reply = session.app.control.revoke(
        list(built["task_id"]),
        destination=names(destination),
        terminate=terminate,
        signal=built.get("signal", "SIGTERM"),
        by=session.actor(),
        reply=True,
        timeout=timeout,
    )
    if not reply:
        session.note("revoked in the queue; no worker lives that might run it")
        return Exit.OK
    return show_answers(session, flatten_reply(reply), count=False)
