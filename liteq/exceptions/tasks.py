"""Errors of messages and tasks, and what a running task asks of its worker by raising."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from liteq.exceptions.base import LiteqError
from liteq.exceptions.texts import alike, text_of


class BadMessage(LiteqError):
    """Raised when a message is refused at enqueue; nothing was written."""


class CanvasConflict(BadMessage, ValueError):
    """Raised when a part of a canvas has the id of what is in the queue already and is no part of the same canvas.

    Nothing of the canvas was sent. A canvas that is there whole is no conflict: it stands for the one that is sent.
    """


class PayloadTooLarge(BadMessage):
    """Raised when arguments or a result are larger than the limit, in bytes, once encoded."""

    def __init__(self, what: str, size: int, limit: int, setting: str) -> None:
        super().__init__(
            f"{what} is {size:,} bytes encoded, the limit is {limit:,}: pass a reference (a path, a key) instead, "
            f"or raise `{setting}`"
        )
        self.size = size
        self.limit = limit


class NotSerializable(BadMessage, TypeError):
    """Raised when arguments or a result hold something that the serializer has no form for; says where."""


EncodeError = NotSerializable


class ImproperlyConfigured(LiteqError):
    """Raised when a setting, a broker URL or an app is wrong; the message says what to write instead."""


# -- tasks -----------------------------------------------------------------------------------------------------------


class TaskError(LiteqError):
    """Base of what can go wrong with a task."""


class NotRegistered(TaskError, KeyError):
    """Raised when a message names a task that no imported module declares."""

    def __init__(self, name: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.known = list(known)

    def __str__(self) -> str:
        near = ", ".join(map(repr, alike(self.name, self.known)))
        said = f"task {self.name!r} is not registered: import its module in the app (`include=`)"
        return f"{said}; nearest: {near}" if near else said

    def __repr__(self) -> str:
        return f"NotRegistered({self.name!r})"


class AlreadyRegistered(TaskError):
    """Raised when two different functions claim one task name."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001 - Celery's name; also caught as the built-in one
    """Raised when a result did not arrive within the time given."""


class MaxRetriesExceededError(TaskError):
    """Raised inside a task when `retry()` is called once more than `max_retries` allows."""

    def __init__(self, *args: Any, task_args: Any = (), task_kwargs: Any = None) -> None:
        super().__init__(*args)
        self.task_args = task_args
        self.task_kwargs = task_kwargs if task_kwargs is not None else {}


class TaskRevokedError(TaskError):
    """Raised by `get()` when the task was revoked, or expired, before it ran."""


class ChordError(TaskError):
    """Raised as the failure of a chord's body when a member of its header failed."""


class WorkerLostError(TaskError):
    """Raised as a task's failure when the process that ran it died, too often to try again (`max_crashes`)."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # without the exit code, which the text has in words

    @property
    def exitcode(self) -> int | None:
        return self.args[1] if len(self.args) > 1 else None


class TimeLimitExceeded(TaskError):
    """Raised as a task's failure when its hard time limit passed and its process was killed."""


class RemoteError(TaskError):
    """Raised by `get()` for an exception whose class this process does not rebuild from data.

    `type_name` is the class as the worker saw it, `args` hold its message.
    """

    type_name: str = ""

    def __init__(self, *args: Any, type_name: str = "") -> None:
        super().__init__(*args)
        self.type_name = type_name

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.type_name}: {text}" if self.type_name else text


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task when its soft time limit passes: clean up and return, or let it fail."""

    def __str__(self) -> str:
        return "SoftTimeLimitExceeded" + (str(self.args) if self.args else "()")


class TaskInterrupted(BaseException):
    """Raised by `save_cursor()` in a task whose worker stops: let it through. The task goes on at its cursor."""


# -- what a running task asks of its worker --------------------------------------------------------------------------


class TaskPredicate(LiteqError):
    """Base of the exceptions by which a running task tells its worker something; none is a failure."""


class Retry(TaskPredicate):
    """Raised by `task.retry()`: run this message again at `when` (seconds from now, or a time)."""

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.exc = exc
        self.excs = text_of(exc) if exc is not None else None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        self.changes: dict[str, Any] = {}  # of the message's other columns
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """When, in words: "in 10s" or "at <time>"."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"


class RateLimited(TaskPredicate):
    """Raised by a task that met a limit outside, such as an API's: it is held for `retry_after`, and tried again.

    `retry_after`: seconds, a time, or the text of the header Retry-After; None for 10 s. `key`: the limit that is
    paused for all workers, by default the first of the message's own keys; without one that message alone waits. No
    attempt is counted. Raises TypeError for a key that is no text.
    """

    def __init__(self, retry_after: float | str | datetime | None = None, key: str | None = None) -> None:
        if key is not None and not isinstance(key, str):
            raise TypeError(f"the key of a limit is a string, not {key!r}")
        super().__init__(retry_after, key)
        self.retry_after = retry_after
        self.key = key

    def __str__(self) -> str:
        after = "" if self.retry_after is None else f"; retry after {self.retry_after}"
        return "a limit was met" + ("" if self.key is None else f" of {self.key!r}") + after


class Ignore(TaskPredicate):
    """Raised by a task to be acknowledged without its state being touched."""


class Reject(TaskPredicate):
    """Raised by a task to go back to its queue (`requeue=True`) or to the dead letters."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue

    def __str__(self) -> str:
        return "no reason given" if self.reason is None else text_of(self.reason, str)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Replaced(Ignore):
    """Raised by `task.replace()`: `batch` takes this message's place, and its id."""

    def __init__(self, batch: Any = None) -> None:
        super().__init__()
        self.batch = batch
