"""The attempts to run a task of Django's, read from its message's row, and the TaskResult made of them.

A worker notes each attempt before it begins it, with the errors of those before, beside the state that the task says
of itself. That ends with the attempt: for one that is to be retried they go on among the message's headers. The error
of the last one is the row's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from django.utils.module_loading import import_string

from liteq.serialization import decode, decode_error
from liteq.serialization.content import Owner
from liteq.serialization.errors import shorten
from liteq.states import FINISHED, State
from liteq.storage.reading.inspect import Record
from liteq_django.project import default_app
from liteq_django.tasks_api import Task, TaskError, TaskResult, TaskResultDoesNotExist, TaskResultStatus
from liteq_django.times import moment, moment_or_none

__all__ = [
    "ATTEMPTS",
    "HEADER",
    "Attempts",
    "Eager",
    "as_sent",
    "changed",
    "error_of",
    "errors_of",
    "moment",
    "moment_or_none",
    "result_of",
    "task_of",
]

HEADER = "django_task"
ATTEMPTS = "django_attempts"
KEPT = {"workers", "started_ms", "errors"}  # the fields of `Attempts`, by which they are known
TRACEBACK_BYTES = 16 * 1024  # of each attempt before the last


@dataclass
class Attempts:
    """The attempts to run one message: by which worker, begun when (ms), and what became of those before the last."""

    workers: list[str] = field(default_factory=list)
    started_ms: list[int] = field(default_factory=list)
    errors: list[list[str]] = field(default_factory=list)

    @classmethod
    def of(cls, record: Record | None) -> Attempts:
        """Those that `record` knows of."""
        if record is None:
            return cls()
        told = default_app().result_content.read(record.progress) if record.progress else {}
        both = (told.get("attempts"), told.get("meta"))  # an older liteq's were the state itself
        found = next((one for one in both if isinstance(one, dict) and one.keys() == KEPT), None)
        if found is None and record.retries and record.options:  # none: it was replayed, and is as if new
            found = (decode(record.options).get("headers") or {}).get(ATTEMPTS)
        return cls(**found) if isinstance(found, dict) else cls()

    def begin(self, record: Record | None, worker: str, now_ms: int) -> None:
        """Add one, and keep the error that the row still has of the one before."""
        if record is not None and record.error and len(self.workers) > len(self.errors):
            self.errors.append(_error(record.error))
        self.workers.append(worker)
        self.started_ms.append(now_ms)


@dataclass
class Eager:
    """A message that is run where it is sent, and is in no file."""

    id: str
    attempts: Attempts = field(default_factory=Attempts)
    result: Any = None  # once it has ended


def error_of(exc: BaseException, traceback: str) -> list[str]:
    """An entry of `Attempts.errors`."""
    return [f"{type(exc).__module__}.{type(exc).__qualname__}", traceback]


def _error(document: bytes) -> list[str]:
    doc = decode_error(document)
    return [f"{doc.module}.{doc.type}", shorten(doc.traceback or f"{doc.type}: {doc.message}\n", TRACEBACK_BYTES)]


def errors_of(attempts: Attempts) -> list[Any]:
    return [TaskError(exception_class_path=path, traceback=text) for path, text in attempts.errors]


def status_of(state: State) -> Any:
    match state:
        case State.LEASED:
            return TaskResultStatus.RUNNING
        case State.SUCCEEDED:
            return TaskResultStatus.SUCCESSFUL
        case s if s in FINISHED:
            return TaskResultStatus.FAILED
        case _:
            return TaskResultStatus.READY


def changed(task: Any, **changes: Any) -> Any:
    """`task` with other values, not validated as by `using()`: it may have been sent under other settings."""
    made = object.__new__(type(task))
    for one in fields(task):
        object.__setattr__(made, one.name, changes.get(one.name, getattr(task, one.name)))
    return made


def as_sent(task: Any, header: Mapping[str, Any], *, queue: str, priority: int) -> Any:
    """`task` as it was enqueued with `header`."""
    run_after = header.get("run_after")
    return changed(
        task,
        priority=priority,
        queue_name=queue,
        backend=header.get("backend", task.backend),
        run_after=None if run_after is None else datetime.fromisoformat(run_after),
    )


def task_of(record: Record) -> Any:
    """The Task that was enqueued, as it was then. Raises TaskResultDoesNotExist for a message that is none of one.

    One that beat or `send_task` sent by its name has no header: it is of the backend that the task is declared with.
    """
    header = ((decode(record.options).get("headers") or {}).get(HEADER) if record.options else None) or {}
    try:
        declared = import_string(record.task)
    except (ImportError, TypeError, ValueError) as exc:  # the latter two for a name that is no path
        raise TaskResultDoesNotExist(f"{record.id}: its task {record.task} is not there (any more)") from exc
    if not isinstance(declared, Task):
        raise TaskResultDoesNotExist(record.id)
    return as_sent(declared, header, queue=record.queue, priority=record.priority)


def result_of(record: Record) -> Any:
    """The TaskResult of a message. Raises TaskResultDoesNotExist."""
    task = task_of(record)
    status, attempts = status_of(record.state), Attempts.of(record)
    waits_for_retry = status == TaskResultStatus.READY and len(attempts.workers) > len(attempts.errors)
    if record.error and (status == TaskResultStatus.FAILED or waits_for_retry):
        attempts.errors.append(_error(record.error))
    app = default_app()
    args, kwargs = app.content.read(record.payload, Owner(record.id, record.task))
    started = attempts.started_ms
    result = TaskResult(
        task=task,
        id=record.id,
        status=status,
        enqueued_at=moment(record.created_ms),
        started_at=moment(started[0]) if started else None,
        last_attempted_at=moment(started[-1]) if started else None,
        finished_at=moment_or_none(record.finished_ms),
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=errors_of(attempts),
        worker_ids=attempts.workers,
    )
    if record.result is not None:
        object.__setattr__(result, "_return_value", app.result_content.read(record.result))
    return result
