"""`liteq control`: ask the workers that live for something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from liteq.cli.asking import ask, show_answers
from liteq.cli.exits import Exit
from liteq.cli.group import Command
from liteq.cli.session import Session, pass_session

__all__ = ["control"]

Build = Callable[..., dict[str, Any]]


def _nothing() -> dict[str, Any]:
    return {}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not a whole number") from None


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not a number of seconds") from None


# By command: its arguments as they are written, what it does, and how the words become arguments of the command.
COMMANDS: dict[str, tuple[str, str, Build]] = {
    "revoke": ("ID...", "Do not run these messages.", lambda *ids: {"task_id": ids}),
    "terminate": (
        "SIGNAL ID...",
        "The same, and kill the processes that run them.",
        lambda signal, *ids: {"task_id": ids, "signal": signal},
    ),
    "time_limit": (
        "TASK SOFT [HARD]",
        "Set a task's time limits, in seconds.",
        lambda task, soft, hard=None: {"task_name": task, "soft": _seconds(soft), "hard": _seconds(hard)},
    ),
    "rate_limit": (
        "TASK RATE",
        "Set how many of a task a worker starts: 10/m.",
        lambda task, rate: {"task_name": task, "rate_limit": rate},
    ),
    "add_consumer": ("QUEUE", "Take from one more queue.", lambda queue, *_: {"queue": queue}),
    "cancel_consumer": ("QUEUE", "Take from a queue no more.", lambda queue: {"queue": queue}),
    "pool_grow": ("[N]", "Execute N more tasks at a time.", lambda n="1": {"n": _number(n)}),
    "pool_shrink": ("[N]", "Execute N fewer tasks at a time.", lambda n="1": {"n": _number(n)}),
    "pool_restart": ("", "Replace the processes, each when it is idle.", _nothing),
    "autoscale": ("MAX MIN", "There is none; workers say so.", lambda max_, min_: {"max": max_, "min": min_}),
    "heartbeat": ("", "Beat now.", _nothing),
    "enable_events": ("", "Tell what becomes of tasks.", _nothing),
    "disable_events": ("", "Tell no more.", _nothing),
    "shutdown": ("", "Finish what runs, then end.", _nothing),
}


def _list(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        for name, (arguments, text, _) in COMMANDS.items():
            click.echo(f"{(name + ' ' + arguments).strip():<28} {text}")
        ctx.exit()


@click.command(cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("command", type=click.Choice(list(COMMANDS)), metavar="COMMAND")
@click.argument("arguments", nargs=-1)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="The commands, explained."
)
@click.option("-t", "--timeout", type=float, default=1.0, show_default=True, help="Seconds to wait for answers.")
@click.option("-d", "--destination", metavar="NAMES", help="Only these workers, comma-separated.")
@pass_session
def control(
    session: Session, /, command: str, arguments: tuple[str, ...], timeout: float, destination: str | None
) -> int:
    """Ask the workers that live for something. COMMAND is one of those that `liteq control --list` explains.

    Returns as soon as each of them has answered; with 69 when none does, and with 1 when one could not do it. What
    waits in the queue is revoked also where no worker lives.

    \b
    JSON: {worker: {"ok": text} or {"error": text}}
    """
    usage, _, build = COMMANDS[command]
    try:
        built = build(*arguments)
    except TypeError:
        raise click.UsageError(f"write: liteq control {command} {usage}") from None
    if command not in {"revoke", "terminate"}:
        return show_answers(session, ask(session, command, built, destination=destination, timeout_s=timeout))
    if not built["task_id"]:
        raise click.UsageError(f"write: liteq control {command} {usage}")
    return _revoke(session, built, terminate=command == "terminate", destination=destination, timeout=timeout)


def _revoke(
    session: Session, built: dict[str, Any], *, terminate: bool, destination: str | None, timeout: float
) -> int:
    _ = session.storage  # refuses a file that is not there
    reply = session.app.control.revoke(
        list(built["task_id"]),
        destination=destination.split(",") if destination else None,
        terminate=terminate,
        signal=built.get("signal", "SIGTERM"),
        reply=True,
        timeout=timeout,
    )
    if not reply:
        session.note("revoked in the queue; no worker lives that might run it")
        return Exit.OK
    return show_answers(session, {name: answer for one in reply for name, answer in one.items()})
