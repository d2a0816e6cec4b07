"""The row of a message in Celery's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteq import states
from liteq.exceptions import TaskRevokedError
from liteq.message import Flag
from liteq.serialization import decode, decode_error
from liteq.serialization.failures import exception_from, exception_of_meta
from liteq.states import State, celery_state
from liteq.storage.reading.inspect import Record

__all__ = ["state_of", "value_of"]


# Until it has ended: its result or exception takes the place of the progress that it showed.
SHOWS_PROGRESS = frozenset(State) - {State.SUCCEEDED, State.DEAD, State.UPSTREAM_FAILED}


def _shows_progress(record: Record) -> bool:
    """Whether it is what the task, or somebody, said of it: not once it was revoked, whatever it had said."""
    if record.progress is None or record.state not in SHOWS_PROGRESS:
        return False
    ended = record.error if record.state is State.CANCELLED else None
    return ended is None or decode_error(ended).type != TaskRevokedError.__name__


def state_of(record: Record | None) -> str:
    if record is None:
        return states.PENDING
    if record.progress is not None and _shows_progress(record):
        # A state of the task's own, also when it raised Ignore right after it set one; or one that somebody stored.
        return str(decode(record.progress).get("state") or states.STARTED)
    if record.state is State.CANCELLED and record.error and decode_error(record.error).type == "Ignore":
        return states.IGNORED
    return celery_state(record.state, retries=record.retries, started=bool(record.flags & Flag.TRACK_STARTED))


def value_of(record: Record, state: str, read: Callable[[bytes], Any] = decode) -> Any:
    """The result, the meta or the exception that `record` holds; `read` opens an envelope."""
    match record.state:
        case State.SUCCEEDED:
            return read(record.result) if record.result is not None else None
        case _ if record.progress is not None and _shows_progress(record):
            meta = read(record.progress).get("meta")
            return exception_of_meta(meta) if state in states.EXCEPTION_STATES else meta
    if state == states.STARTED:
        return {"hostname": record.worker}  # Celery's has the number of the process too: no row knows that
    if state == states.IGNORED or (state == states.PENDING and not record.error):
        return None
    if record.error:
        return exception_from(record.error)[0]
    return TaskRevokedError("revoked") if state == states.REVOKED else None
