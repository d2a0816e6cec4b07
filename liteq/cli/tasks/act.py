"""`liteq act`: do something to messages, by their ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from liteq.cli.group import Command
from liteq.cli.parts.asking import SURE, acting, confirm_deletion
from liteq.cli.parts.exits import Exit
from liteq.cli.parts.names import one_of
from liteq.cli.parts.output import emit, say, without_none
from liteq.cli.parts.session import Session, pass_session
from liteq.cli.workflow.acting import from_json
from liteq.exceptions import MessageNotFound, NotEligible, WorkflowError
from liteq.operating.acts import ACTIONS, TAKES
from liteq.operating.acts import act as do

__all__ = ["act", "arguments_of", "with_arguments"]


def with_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the actions that take something beside the message."""
    for option in (
        acting,
        click.option("--step", metavar="STEP", help="rewind: the step's name or number."),
        click.option("--at", metavar="TIME", help="run-at: a time in ISO format (without a zone: UTC), or ms."),
        click.option("--priority", type=int, metavar="N", help="move: the new priority."),
        click.option("--queue", metavar="NAME", help="move: the new queue."),
    ):
        command = option(command)
    return command


def arguments_of(action: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, for `action`. Raises UsageError for one that it does not take."""
    given = without_none(options)
    if wrong := given.keys() - set(TAKES.get(action, ())):
        raise click.UsageError(f"{action} does not take --{', --'.join(sorted(wrong))}")
    at = given.get("at")
    return given | {"at": int(at)} if at is not None and at.isdecimal() else given


@click.command("act", cls=Command)
@click.argument("action", metavar="ACTION", callback=one_of("action", ACTIONS))
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@with_arguments
@click.option("--args", metavar="JSON", callback=from_json, help="resend: a list of other positional arguments.")
@click.option("--kwargs", metavar="JSON", callback=from_json, help="resend: an object of other named arguments.")
@SURE
@pass_session
def act(session: Session, /, action: str, ids: tuple[str, ...], sure: bool, **options: Any) -> int:
    """Do ACTION to messages, where the state of each allows it. The audit keeps your name and --reason.

    \b
    retry      make a scheduled or held message due now
    revoke     keep it from running; one that runs is not retried
    terminate  end the process that runs it
    requeue    put a dead letter back in its queue
    delete     delete a finished message
    resend     send a new message like it, with other --args or --kwargs
    move       give it another --queue or --priority
    run-at     run it at another time (--at)
    cancel, pause, resume, rewind (to --step)  for runs of workflows

    Exits with 1 when it could not be done to one of the messages.

    \b
    JSON: [{"id", "done", "message"}]
    """
    arguments = arguments_of(action, options)
    if action == "delete":
        confirm_deletion(", ".join(ids), sure=sure, option="--yes")
    if action == "resend":
        session.import_commands()
    _ = session.storage  # refuses a file that is not there
    told: list[dict[str, Any]] = []
    try:
        told.extend(_done(session, action, id_, arguments) for id_ in dict.fromkeys(ids))
    finally:
        if told:  # also where the next one was an error: these were done
            emit(session, told, lambda: say("\n".join(one["message"] for one in told)))
    return Exit.OK if all(one["done"] for one in told) else Exit.FAILED


def _done(session: Session, action: str, id_: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        done = do(session.app, action, id_, by=session.actor(), **arguments)
    except (MessageNotFound, NotEligible, WorkflowError) as error:
        return {"id": id_, "done": False, "message": str(error)}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return {"id": done.id, "done": True, "message": done.message}
