"""A message as a person may see it: the only place that decodes one for a reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq.context import App
from liteq.context.display import MAPS, Call, Sent, in_front, redacted, shown_call
from liteq.context.secrets import hider
from liteq.exceptions import LiteqError
from liteq.serialization import ErrorDoc, decode, decode_error, kind_of
from liteq.states import State
from liteq.storage.reading.holding import FAIR, OWN
from liteq.storage.reading.inspect import Record
from liteq.utils.text import iso_time

__all__ = ["HIDDEN", "Call", "document", "error_line", "failure", "hiding", "masked", "result", "shown", "waits_for"]

HIDDEN = "hidden: this process does not know the task {task!r}, and so not which of its arguments are sensitive"


def shown(app: App, message: Sent) -> Call:
    """The arguments of a message, a lease or a record; sensitive ones are `***` (see `context.display`)."""
    return shown_call(app, message)


def document(app: App, record: Record, *, with_args: bool = False) -> dict[str, Any]:
    """A message as a JSON object. `args` and `kwargs` are in it when asked for; a sender's `argsrepr` is text."""
    error = failure(record)
    found: dict[str, Any] = {
        "id": record.id,
        "task": record.task,
        "queue": record.queue,
        "priority": record.priority,
        "state": record.state.value,
        "created": iso_time(record.created_ms),
        "due": iso_time(record.due_ms),
        "expires": iso_time(record.expires_ms),
        "started": iso_time(record.started_ms),
        "finished": iso_time(record.finished_ms),
        "retries": record.retries,
        "crashes": record.crashes,
        "reaps": record.reaps,
        "worker": record.worker,
        "waits_for": waits_for(app, record),
        "root_id": record.root_id,
        "parent_id": record.parent_id,
        "awaits": record.awaits,
        "group_id": record.group_id,
        "error": None if error is None else {"type": error.type_name, "message": error.message},
    }
    if with_args:
        call = shown(app, record)
        found |= {"args": call.args, "kwargs": call.kwargs}
    return found


def waits_for(app: App, record: Record) -> str | None:
    """The key that a held message waits for, "rate" for a worker's own; None for one that is not held."""
    waits = app.storage.views.waits(record.id) if record.state is State.HELD else None
    if waits is None:
        return None
    if waits.line.startswith(OWN):
        return "rate"
    key = waits.key or waits.line.removeprefix(f"{FAIR}{record.queue}:")
    return masked(app, record.task, key, lambda: record)


def failure(record: Record) -> ErrorDoc | None:
    """The error that a message ended with, or was retried for; None where there is none."""
    return decode_error(record.error) if record.error else None


def error_line(error: bytes | None, limit: int = 200) -> str:
    """An error document in one line of at most `limit` characters, "…" at a cut; "" where there is none."""
    if not error:
        return ""
    found = decode_error(error)
    line = f"{found.type}: {found.message}"
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def result(record: Record) -> Any:
    """The return value of a message; None where none is kept. Opens no envelope: its kind stands for the value."""
    if record.result is None:
        return None
    sealed = kind_of(record.result)
    return decode(record.result) if sealed is None else f"({sealed})"


def masked(app: App, task: str, text: str, sent: Callable[[], Sent | None]) -> str:
    """`text`, an error's or a traceback's, with `***` where it quotes an argument that is hidden.

    `sent` reads the message; it is asked only where the task hides something.
    """
    hide = hiding(app, task, sent) if text else None
    return text if hide is None else hide(text)


def hiding(app: App, task: str, sent: Callable[[], Sent | None]) -> Callable[[str], str] | None:
    """The function that does what `masked` does; None where there is nothing to hide."""
    known = app.tasks.find(task)
    if known is not None and not getattr(known, "sensitive", ()) and task not in MAPS:
        return None
    message = sent()
    if message is None or kind_of(message.payload) is not None:
        return None
    try:
        args, kwargs = decode(message.payload)
        kept_args, kept_kwargs = redacted(app, task, args, kwargs, in_front=in_front(message.flags))
    except (LiteqError, ValueError, TypeError):
        return None
    return hider((args, kwargs), (kept_args, kept_kwargs))
