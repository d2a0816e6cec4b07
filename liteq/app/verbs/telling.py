"""Methods by which a running task tells of itself: its progress, chunks of streams, states and events of its own."""

from __future__ import annotations

from typing import Any

from liteq import context
from liteq.app.retrying import progress_document
from liteq.context import App, Request
from liteq.exceptions import WorkflowError

__all__ = ["Telling", "progress"]


class Telling:
    """The methods of a task that is running."""

    @property
    def app(self) -> App:
        """The app that it is sent through."""
        raise NotImplementedError

    @property
    def request(self) -> Request:
        """The request of the execution that is running."""
        raise NotImplementedError

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Report that `done` of `total` is done: `result.progress` shows it, and state and meta (PROGRESS).

        Call it as often as you like: ten reports a second are written at most, and the last one always. Nothing where
        the task is called as a plain function. Raises LeaseLost once another worker may have the message, and
        TypeError or ValueError for what is no number from 0 on.
        """
        from liteq.execution.telling import report

        report(self.app, self.request, done, total, note)

    def emit(self, stream: str, chunk: Any) -> None:
        """Add a chunk, JSON data or a model, to a stream of its result, which `result.stream(stream)` reads.

        It is seen at once; those that follow within 50 ms are written together. Chunks stay as long as the result;
        those of a retry bear a higher `attempt`. Nothing where the task is called as a plain function. Raises
        NotSerializable, PayloadTooLarge, LeaseLost once another worker may have the message, and StorageError where a
        chunk before this one could not be written.
        """
        from liteq.execution.telling import emit

        emit(self.app, self.request, stream, chunk)

    @property
    def cursor(self) -> Any:
        """The value that `save_cursor` kept last, in this execution or one before it; None at first.

        A task that goes on at its cursor begins with it: `for row in rows(after=self.cursor)`.
        """
        from liteq.execution.telling import cursor_of

        return cursor_of(self.app, self.request)

    def save_cursor(self, value: Any) -> None:
        """Keep `value`, JSON data, as the place at which this task goes on: after a retry, a crash, a warm stop.

        Call it after each piece of work, as often as you like: it is written once a second at most, and the last one
        always, where the task does not succeed. When its worker stops, this call writes it and raises TaskInterrupted,
        a BaseException: let it through. The task goes on elsewhere, no attempt counted. Nothing where the task is
        called as a plain function. Raises NotSerializable, PayloadTooLarge, and LeaseLost once another worker may have
        the message; RuntimeError in a batch and in a workflow, whose steps are kept already.
        """
        from liteq.execution.telling import save_cursor

        save_cursor(self.app, self.request, value)

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, request: Request | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Show `state`, a name of your own, and `meta` in its result, until it finishes."""
        request = self.request if request is None else request
        if request.is_eager:
            return
        own = task_id is None or task_id == request.id
        data = progress_document(self, state, meta, request._beside if own else None)
        target = request.id if task_id is None else task_id
        if target is None:
            raise ValueError("update_state() outside of a running task needs a task_id")
        lease = (request.seq, request.token) if own and request.seq is not None and request.token is not None else None
        app = self.app if lease is None else self.app.of_task
        app.storage.progress(target, data, lease=lease)

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Send an event of one's own about the running task: `self.send_event("task-progress", percent=40)`."""
        request = self.request
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, **fields)


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Report the progress of the task, or of the run whose step is running here. See `Task.progress`.

    For code that has no `self`. Nothing outside of a worker. Raises WorkflowError in the body of a workflow.
    """
    from liteq.execution.telling import report

    if context.in_workflow_body():
        raise WorkflowError("liteq.progress() is for the steps of a workflow; its body shows values by ctx.set()")
    task = context.worker_task()
    report(context.get_current_app() if task is None else task.app, context.worker_request(), done, total, note)
