"""Errors as they may be shown: masked where they quote a hidden argument, also that of another task."""

from __future__ import annotations

from typing import Final, Protocol

from liteq.context import App
from liteq.context.display import REDACTED
from liteq.monitor.messages import masked
from liteq.serialization import decode_error
from liteq.states import State
from liteq.storage.reading.inspect import Record

__all__ = ["Failed", "error_document", "first_failure", "masked_text"]

UPWARD: Final = 100  # messages on the way to the one that failed first
FAILED: Final = frozenset({State.DEAD, State.CANCELLED})


class Failed(Protocol):
    """A message that may have failed: a list's line, a record."""

    @property
    def id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def error(self) -> bytes | None: ...


def first_failure(app: App, record: Record) -> Record | None:
    """The message whose failure kept this one from running; None where it is not there any more."""
    at: Record | None = record
    for _ in range(UPWARD):
        if at is None or at.state is not State.UPSTREAM_FAILED:
            break
        if at.awaits is None:  # the rest of a chain of Celery's, which was to be sent by the task that failed
            parent = None if at.parent_id is None else app.storage.reader.find(at.parent_id)
            at = parent if parent is not None and parent.state in FAILED else at
            break
        found = app.storage.reader.find(at.awaits)
        if found is None and (first := app.storage.views.failed_of(at.awaits)) is not None:
            found = app.storage.reader.find(first)
        at = found
    return None if at is None or at.id == record.id else at


def masked_text(app: App, failed: Failed, text: str, record: Record | None = None) -> str:
    """`text`, of the error of a message, with `***` where it quotes a hidden argument.

    What did not run bears the error of another task, and hides what that one hides; all of it where that one is gone.
    """
    if not text:
        return text
    if failed.state != State.UPSTREAM_FAILED:
        return masked(app, failed.task, text, lambda: record or app.storage.reader.find(failed.id))
    own = record or app.storage.reader.find(failed.id)
    origin = None if own is None else first_failure(app, own)
    return REDACTED if origin is None else masked(app, origin.task, text, lambda: origin)


def error_document(app: App, failed: Failed, record: Record | None = None) -> dict[str, str] | None:
    """The error of a message: {"type", "message"}; None where there is none. `record`: the same, where it was read."""
    if not failed.error:
        return None
    found = decode_error(failed.error)
    return {"type": found.type_name, "message": masked_text(app, failed, found.message, record)}
