"""Celery's other names: its errors of backends and commands, and its warnings."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NoReturn

from liteq.exceptions.base import LiteqError
from liteq.exceptions.tasks import TaskError


class QueueNotFound(TaskError, KeyError):
    """Raised when a task is routed to a queue that `task_queues` does not have."""


class InvalidTaskError(TaskError):
    """Raised when a message has no task, or arguments that are none."""


class IncompleteStream(TaskError):
    """Raised when a stream of results ends before its end."""


class SecurityError(LiteqError):
    """Raised when a message must not be read: its serializer is not accepted, its signature is wrong."""


class BackendError(LiteqError):
    """Base of what can go wrong with a result backend of one's own."""

    def __init__(self, *args: Any, task_id: str = "", state: str = "") -> None:
        super().__init__(*args)
        self.task_id = task_id
        self.state = state


class BackendGetMetaError(BackendError):
    """Raised when a result could not be read."""


class BackendStoreError(BackendError):
    """Raised when a result could not be written."""


class CeleryCommandException(LiteqError):
    """Raised to end a command with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class Terminated(Exception):
    """Raised in a process that was told to end while it ran a task."""


class WorkerShutdown(SystemExit):
    """Raised to have the worker finish what runs, and end."""

    stops_worker = True


class WorkerTerminate(SystemExit):
    """Raised to have the worker end at once."""

    stops_worker = True


class CeleryWarning(UserWarning):
    """Base of the warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """`task_always_eager` is set and does not apply to `send_task()` of a task that is not known here."""


class DuplicateNodenameWarning(CeleryWarning):
    """Several workers have one name: they cannot be told apart by remote control."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two tasks have one name."""


class FixupWarning(CeleryWarning):
    """An integration with a framework could not be set up."""


class NotConfigured(CeleryWarning):
    """There is no configuration."""


class SecurityWarning(CeleryWarning):
    """Something is less safe than it could be."""


class CDeprecationWarning(DeprecationWarning):
    """Something goes with the next version."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Something goes with a later version."""


def reraise(_tp: type[BaseException], value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise `value` with the traceback `tb`."""
    raise value.with_traceback(tb) if value.__traceback__ is not tb else value
