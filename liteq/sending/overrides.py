"""Task classes with an `apply_async` of their own, in signatures and canvases.

Such a method adds what its program needs: a header with the tenant, an argument, an errback, a line in a journal. The
parts of a canvas are compiled to rows and not sent one by one; yet each is to go out as its class wants it. So the
method is called as for a message, and the call that it passes on to `Task.apply_async` is captured: its row is made of
that. So is a `send_task` of the app's class, which Celery's tasks go through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from liteq.message import new_id
from liteq.result import AsyncResult
from liteq.utils.records import NamedTuple

__all__ = ["call_as_sent", "has_been_through", "pass_on"]


class Call(NamedTuple):
    """The arguments with which `Task.apply_async` was called."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: dict[str, Any]


class _Capture:
    """A call whose message is not sent: only the arguments that it would have are wanted."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.call: Call | None = None


_capture: ContextVar[_Capture | None] = ContextVar("liteq_captured_call", default=None)
_passing: ContextVar[Any] = ContextVar("liteq_task_sent_by_its_class", default=None)


def call_as_sent(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Call:
    """This call as the `apply_async` of the task's class wants it sent.

    Raises what that raises, and TypeError where it sends nothing: a canvas cannot wait for a message that never comes.
    """
    if _passing.get() is task:  # its class has had this call, and passed it on
        _passing.set(None)
        return Call(args, kwargs, dict(options))
    capture = _Capture(task)
    token = _capture.set(capture)
    try:
        task.apply_async(args, kwargs, **options)
    finally:
        _capture.reset(token)
    if capture.call is None:
        raise TypeError(
            f"the apply_async of {task.name!r} did not call super().apply_async, or the send_task of its app did not "
            "pass the call on: nothing was sent that the rest of this canvas could wait for"
        )
    return capture.call


def pass_on(
    task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None, options: dict[str, Any]
) -> Any:
    """Send a call that the task's class, and the app's, have passed on; where it is only captured, keep it."""
    call = Call(args, kwargs, options if task_id is None else {**options, "task_id": task_id})
    result = _captured(task, call)
    if result is None:
        with _sent_by_its_class(task):
            result = task.app.sender.send_call(task, task.name, args, kwargs, task_id, options)
    if not task.has_own_result or type(result) is not AsyncResult:
        return result
    made = task.AsyncResult(result.id)
    made.ignored, made.parent, made._duplicate = result.ignored, result.parent, result._duplicate
    return made


def _captured(task: Any, call: Call) -> Any:
    """Keep `call` where one of `task` is being captured; None where none is: it is to be sent."""
    capture = _capture.get()
    if capture is None or capture.task is not task or capture.call is not None:
        return None
    capture.call = call
    return task.AsyncResult(call.options.get("task_id") or new_id())


def has_been_through(task: Any) -> bool:
    """Whether the next call of `task` that is sent has been through its class's `apply_async`."""
    return _passing.get() is task


@contextmanager
def _sent_by_its_class(task: Any) -> Iterator[None]:
    """The next call of `task` that is sent in this block has been through its class's `apply_async`."""
    token = _passing.set(task)
    try:
        yield
    finally:
        _passing.reset(token)
