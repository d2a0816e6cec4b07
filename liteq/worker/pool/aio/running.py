"""One lease that a child runs as a coroutine: its steps are noted, and it can be interrupted and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

from liteq.context import Request
from liteq.message import Lease
from liteq.worker.pool.aio.notes import LOOP, STEPS
from liteq.worker.pool.limits import Limits

__all__ = ["Running", "Steps", "current", "make_task"]


class Steps(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are noted in `cells` under `token`; its `interruption` is thrown in place of a cancel."""

    __slots__ = ("_cells", "_coroutine", "_send", "_token", "has_begun", "interruption")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], cells: memoryview[int], token: int) -> None:
        self._coroutine, self._send = coroutine, coroutine.send
        self._cells, self._token = cells, token
        self.interruption: BaseException | None = None
        self.has_begun = False  # an exception before the first step would be raised in no line of it

    def send(self, value: Any) -> Any:
        self.has_begun = True
        cells = self._cells
        before = cells[LOOP]  # not 0 in a step that begins another one eagerly
        cells[LOOP] = self._token
        cells[STEPS] += 1
        try:
            return self._send(value)
        except (KeyboardInterrupt, SystemExit) as exc:  # asyncio would end the loop, with all that others run on it
            raise _not_ending(exc) from exc
        finally:
            cells[LOOP] = before

    def throw(self, exc: Any, *rest: Any) -> Any:
        if self.interruption is not None and isinstance(exc, asyncio.CancelledError):
            exc, self.interruption = self.interruption, None
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()  # the coroutine may catch it and go on
        cells = self._cells
        before = cells[LOOP]
        cells[LOOP] = self._token
        cells[STEPS] += 1
        try:
            return self._coroutine.throw(exc, *rest)
        except (KeyboardInterrupt, SystemExit) as raised:
            raise _not_ending(raised) from raised
        finally:
            cells[LOOP] = before

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # cr_frame, cr_running: of the user's coroutine, for libraries that look


def _not_ending(exc: BaseException) -> RuntimeError:
    return RuntimeError(f"a coroutine that a task had started raised {type(exc).__name__}({exc})")


class Running:
    """One lease that runs. `others`: the tasks that its coroutine has started, and that have not ended."""

    __slots__ = (
        "early",
        "ended_by",
        "in_body",
        "in_thread",
        "interrupted",
        "lease",
        "limits",
        "others",
        "request",
        "steps",
        "task",
        "timers",
    )

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.request: Request | None = None  # once it has begun
        self.steps: Steps | None = None
        self.task: asyncio.Task[Any] | None = None
        self.in_thread: Future[Any] | None = None  # its execution, where that is in a thread
        self.others: set[asyncio.Task[Any]] = set()
        self.limits: Limits = (None, None)
        self.timers: list[asyncio.Handle] = []
        self.in_body = False  # its body has begun, and is not over
        self.early: BaseException | None = None  # an interruption that came before
        self.interrupted = False  # by its soft limit
        self.ended_by: BaseException | None = None  # the reason why it was stopped from outside

    def start(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], cells: Any, base: Any
    ) -> None:
        """Run `coroutine` on `loop`, in a copy of the context `base`."""
        context = base.copy()
        context.run(current.set, (self, cells))
        self.steps = Steps(coroutine, cells, self.lease.token)
        self.task = asyncio.Task(self.steps, loop=loop, context=context, name=f"{self.lease.task}[{self.lease.id}]")

    def interrupt(self, exc: BaseException) -> None:
        """Raise `exc` at the next await of its body: once, it may go on afterwards."""
        if not self.in_body:
            self.early = exc
        elif self.steps is not None and self.task is not None and self.ended_by is None:
            self.steps.interruption, self.interrupted = exc, True
            self.task.cancel()

    def stop(self, why: BaseException) -> None:
        """Cancel it: it has no outcome of its own any more. In a thread: only what has not begun."""
        if self.ended_by is None:
            self.ended_by = why
            if self.request is not None:
                self.request._stopped = True
        if self.steps is not None:
            self.steps.interruption = None
        if self.task is not None:
            if self.steps is None or self.steps.has_begun:  # else it sees by `ended_by` that it is not to begin
                self.task.cancel()
        elif self.in_thread is not None:
            self.in_thread.cancel()

    def settled(self) -> None:
        """Note that its body is over: no limit is to hit what follows. Its tasks end with one that was cut short."""
        self.in_body = False
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()
        if (
            self.interrupted or self.ended_by is not None
        ):  # a task group that an exception of ours leaves waits for none
            for task in list(self.others):
                task.cancel()

    def let_go(self) -> None:
        """Drop what refers to this in turn, once it is reported: no collector has to find it."""
        self.task = self.steps = self.request = self.in_thread = None


current: ContextVar[tuple[Running, Any] | None] = ContextVar("liteq_aio_running", default=None)


def make_task(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
    """Make a task, as the loop's factory: one that a liteq task starts is noted as that one's."""
    context = kwargs.get("context")
    found = current.get() if context is None else context.get(current)
    if found is None:
        return asyncio.Task(coro, loop=loop, **kwargs)
    running, cells = found
    task: asyncio.Task[Any] = asyncio.Task(Steps(coro, cells, running.lease.token), loop=loop, **kwargs)
    running.others.add(task)
    task.add_done_callback(running.others.discard)
    return task
