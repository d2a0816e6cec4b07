"""Tasks that look, while they run, whether somebody wants them to end: `celery.contrib.abortable`.

    @app.task(bind=True, base=AbortableTask)
    def export(self):
        for row in rows:
            if self.is_aborted():
                return "aborted"

    export.delay().abort()

To have a task not start at all, or its process killed, revoke it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from liteq.app.task import Task
from liteq.result import AsyncResult
from liteq.serialization import encode

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]

R = TypeVar("R")

ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult[R]):
    """The result of an abortable task."""

    def abort(self) -> None:
        """Show the state ABORTED until it finishes; the task itself decides what to make of it."""
        if self.ready():
            return
        self.app.storage.progress(self.id, encode({"state": ABORTED, "meta": None}, what="the state ABORTED"))

    def is_aborted(self) -> bool:
        """Whether `abort()` was called, and it has not finished."""
        return self.state == ABORTED


class AbortableTask(Task[..., Any]):
    """The `base=` of tasks that ask `self.is_aborted()` now and then."""

    abstract = True

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AbortableAsyncResult[Any]:  # noqa: N802 - Celery's name
        """The result of the message `task_id`, with `abort()`."""
        return AbortableAsyncResult(task_id, task_name=self.name, app=self.app, **kwargs)

    def is_aborted(self, *, task_id: str | None = None, **_kwargs: Any) -> bool:
        """Whether the execution that is running, or that of `task_id`, was asked to end. One read of the file."""
        if task_id is None and self.request.is_eager:
            return False
        id_ = task_id or self.request.id
        return id_ is not None and self.AsyncResult(id_).is_aborted()
