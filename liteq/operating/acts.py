"""One act on one message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from liteq.clock import checked_ms, to_ms
from liteq.context import App
from liteq.exceptions import MessageNotFound
from liteq.message import new_id
from liteq.monitor.access.sight import ALL, Sight
from liteq.operating.commands import command_of
from liteq.operating.resend import again
from liteq.storage.operating.acting import OF_RUNS, STATES, refusal
from liteq.storage.operating.audit import Actor
from liteq.storage.reading.inspect import Record
from liteq.utils.misspelt import meant
from liteq.utils.names import checked_name, checked_priority
from liteq.utils.records import NamedTuple

__all__ = ["ACTIONS", "OF_RUNS", "Done", "act", "check_action", "checked", "offered"]

ACTIONS = (*STATES, "resend")
"""Everything that can be asked of one message; OF_RUNS, of runs of a workflow alone."""

WORDS = {
    "retry": "made due now",
    "revoke": "revoked",
    "terminate": "told to end",
    "requeue": "put back in its queue",
    "delete": "deleted",
    "move": "moved",
    "run-at": "given another time",
    "cancel": "asked to end",
    "pause": "paused",
    "resume": "resumed",
    "rewind": "taken back",
}
TAKES = {"move": ("queue", "priority"), "run-at": ("at",), "rewind": ("step",), "resend": ("args", "kwargs", "new_id")}


class Done(NamedTuple):
    """An act that was done: the `id` to look at next, a sentence, and the same act as a `liteq` command.

    `again`: this actor had done so before, to the same version of the message, and nothing was done now.
    """

    id: str
    message: str
    command: str
    again: bool = False


def act(
    app: App, action: str, id: str, *, by: Actor, see: Sight = ALL, version: str | None = None, **arguments: Any
) -> Done:  # fmt: skip
    """Do `action` (one of ACTIONS) to the message `id`, note it in the audit, and say what was done.

    Arguments: `queue`, `priority` of move; `at` of run-at (a datetime, ISO text or ms); `step` of rewind (its name or
    number); `args`, `kwargs` of resend (None: as they were) and `new_id`, which makes a repetition send once. `version`
    (storage.acting.version): what the message was when it was looked at. Raises NotEligible, MessageNotFound, and
    ValueError for a wrong action or argument.
    """
    check_action(action, arguments)
    if action == "resend":
        return _resend(app, id, by, see, version, arguments)
    taken = checked(action, arguments) | {"reason": by.reason}
    before = app.storage.operations.act(action, id, by=by, queues=see.queues, arguments=taken, version=version)
    command = command_of(action, id, taken)
    if before is None:
        return Done(id, f"Nothing was done: you have done so already to {id}.", command, again=True)
    return Done(id, f"{before.task} {id} was {WORDS[action]}.", command)


def check_action(action: str, arguments: Mapping[str, Any], *, many: bool = False) -> None:
    """Raise ValueError for an action that there is not (`many`: for many messages), or an argument it does not take."""
    known = tuple(STATES) if many else ACTIONS
    if action not in known:
        hint = meant(action, known, f"use one of {', '.join(known)}")
        raise ValueError(f"unknown action {action!r}{hint}")
    if unknown := arguments.keys() - set(TAKES.get(action, ())):
        takes = ", ".join(TAKES.get(action, ())) or "nothing"
        raise ValueError(f"{action} does not take {', '.join(sorted(unknown))}: it takes {takes}")


def checked(action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an action as the storage takes them. Raises ValueError."""
    match action:
        case "move":
            queue, priority = arguments.get("queue"), arguments.get("priority")
            if queue in {None, ""} and priority in {None, ""}:
                raise ValueError("move takes a queue or a priority")
            return {
                "queue": checked_name(queue, "a queue's name") if queue else None,
                "priority": _priority(priority) if priority not in {None, ""} else None,
            }
        case "run-at":
            return {"at_ms": _time_ms(arguments.get("at"))}
        case "rewind":
            step = arguments.get("step")
            if not step:
                raise ValueError("rewind takes a step: its name, or its number from 1")
            return {"step": int(step) if str(step).isdecimal() else str(step)}
        case _:
            return {}


def _priority(value: Any) -> int:
    try:
        return checked_priority(value)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _time_ms(at: Any) -> int:
    if isinstance(at, (int, float)) and not isinstance(at, bool):
        return checked_ms(at, "at")
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            raise ValueError(f"{at!r} is no time: write it as 2026-11-28T14:30+00:00 (without a zone: UTC)") from None
    if not isinstance(at, datetime):
        raise ValueError("run-at takes a time `at`: 2026-11-28T14:30+00:00, or ms since the epoch")
    return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))


def _resend(
    app: App, id_: str, by: Actor, see: Sight, version: str | None, arguments: Mapping[str, Any]
) -> Done:  # fmt: skip
    record = app.storage.reader.find(id_)
    if record is None or not see.sees(record.queue):
        raise MessageNotFound(id_)
    new = checked_name(str(arguments.get("new_id") or new_id()), "new_id")
    message = again(app, record, new, by, args=arguments.get("args"), kwargs=arguments.get("kwargs"))
    sent = app.storage.operations.send_again(id_, message, by=by, queues=see.queues, version=version)
    command = command_of("resend", id_, {"task": record.task, "queue": record.queue})
    return Done(new, f"{record.task} was sent again as {new}; {id_} stays as it is.", command, again=not sent)


def offered(record: Record) -> list[str]:
    """The actions that the state of a message allows, in the order of ACTIONS."""
    return [action for action in STATES if not refusal(action, record)] + ["resend"]
