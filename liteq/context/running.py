"""The running task, in a context variable: right in threads, coroutines and `asyncio.to_thread`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from liteq.context.request import Request
from liteq.context.secrets import hider_of
from liteq.utils import log
from liteq.utils.proxy import Proxy

__all__ = [
    "LEAVING",
    "Frame",
    "RequestStack",
    "allow_join_result",
    "assert_will_not_block",
    "current_frame",
    "current_request",
    "current_task",
    "denied_join_result",
    "enter",
    "get_current_task",
    "in_workflow_body",
    "leave",
    "pop",
    "request_of",
    "worker_request",
    "worker_task",
    "workflow_here",
]

Frame = tuple[Any, Request, Any]  # the task, its request, the frame below

_frame: ContextVar[Frame | None] = ContextVar("liteq_frame", default=None)
current_frame = _frame.get


def _stays() -> bool:
    return False


LEAVING: ContextVar[Callable[[], object]] = ContextVar("liteq_leaving", default=_stays)
"""Says whether what runs here is to give its lease back where it can; set by the executor that runs it."""


def enter(task: Any, request: Request) -> Token[Frame | None]:
    """Make `task` the running one; hand the token that it returns to `leave`."""
    return _frame.set((task, request, _frame.get()))


def leave(token: Token[Frame | None]) -> None:
    """Undo the `enter` that returned `token`."""
    _frame.reset(token)


def pop() -> Request | None:
    """Drop the innermost frame, for a caller that has no token; its request."""
    frame = _frame.get()
    if frame is None:
        return None
    _frame.set(frame[2])
    return frame[1]


def request_of(task: Any) -> Request | None:
    """The innermost request under which `task` runs; None where it does not."""
    frame = _frame.get()
    while frame is not None:
        if frame[0] is task:
            return frame[1]
        frame = frame[2]
    return None


class RequestStack:
    """`task.request_stack`: the requests under which `task` runs, the innermost on top."""

    __slots__ = ("_task",)

    def __init__(self, task: Any) -> None:
        self._task = task

    @property
    def top(self) -> Request | None:
        """The innermost request; None where the task does not run."""
        return request_of(self._task)

    @property
    def stack(self) -> list[Request]:
        """All of them, the innermost last."""
        found, frame = [], _frame.get()
        while frame is not None:
            if frame[0] is self._task:
                found.append(frame[1])
            frame = frame[2]
        return found[::-1]

    def push(self, request: Request) -> None:
        """Let the task believe that it runs under `request`, until `pop()`; for tests."""
        enter(self._task, request)

    def pop(self) -> Request | None:
        """Drop the innermost request of the running task, and return it."""
        return pop()

    def __len__(self) -> int:
        return len(self.stack)


def current_request() -> Request | None:
    """The request of the innermost running task; None outside any."""
    frame = _frame.get()
    return frame[1] if frame is not None else None


def get_current_task() -> Any:
    """The innermost running task; None outside any."""
    frame = _frame.get()
    return frame[0] if frame is not None else None


def workflow_here() -> Any:
    """The body of a workflow that runs here, or below whose step this runs; None elsewhere."""
    frame = _frame.get()
    return frame[1]._workflow if frame is not None else None


def in_workflow_body() -> bool:
    """Whether the body of a workflow runs here: its calls are recorded, and belong to its own thread."""
    workflow = workflow_here()
    return workflow is not None and bool(workflow.in_body())


def worker_request() -> Request | None:
    """The request that a worker is executing, below any tasks called as plain functions; None outside a worker."""
    frame = _worker_frame()
    return frame[1] if frame is not None else None


def worker_task() -> Any:
    """The task of `worker_request()`; None outside a worker."""
    frame = _worker_frame()
    return frame[0] if frame is not None else None


def _worker_frame() -> Frame | None:
    frame = _frame.get()
    while frame is not None and frame[1].called_directly:
        frame = frame[2]
    return frame


def _names_for_log() -> tuple[str, str] | None:
    frame = _frame.get()
    return None if frame is None else (str(frame[0].name), str(frame[1].id))


def _details_for_log() -> dict[str, Any]:
    """The fields of a line that the running task logs; {} outside any."""
    frame = _frame.get()
    if frame is None:
        return {}
    task, request, _ = frame
    found = {"task": str(task.name), "task_id": str(request.id)}
    lease = request._lease
    if lease is None:
        return found
    clock = task.app.clock
    running_ms = 0.0 if request._started is None else (clock.monotonic() - request._started) * 1000
    wait_s = max(0.0, round((clock.now_ms() - running_ms - lease.due_ms) / 1000, 3))
    attempt = {"attempt": lease.retries + 1, "worker": request.hostname, "wait_s": wait_s}
    if request._workflow is not None:
        found |= {"workflow": str(task.name), "run_id": str(request.id)}
    return {**found, "queue": lease.queue, "root_id": lease.root_id or lease.id, **attempt}


log.set_task_lookup(_names_for_log)
log.set_task_details(_details_for_log, lambda: hider_of(current_request()))

current_task: Any = Proxy(get_current_task, name="current_task")

# -- may this code wait for a result? ----------------------------------------------------------------------------------

_joins_allowed: ContextVar[bool | None] = ContextVar("liteq_joins_allowed", default=None)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Inside this block, `get()` may be called in a task. Its worker process then waits: mind the deadlock."""
    token = _joins_allowed.set(True)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Inside this block, `get()` raises RuntimeError."""
    token = _joins_allowed.set(False)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


def assert_will_not_block() -> None:
    """Raise RuntimeError where waiting for a result could deadlock the workers: inside a task that a worker runs."""
    allowed = _joins_allowed.get()
    if allowed is None:
        request = worker_request()
        allowed = request is None or request.is_eager
    if not allowed:
        if (workflow := workflow_here()) is not None:
            workflow.refuse_wait()
        raise RuntimeError(
            "Never call result.get() within a task: its worker waits while the task it waits for may need that "
            "worker. Use a chain, a chord or a callback; `with allow_join_result():` if you know that it is safe."
        )
