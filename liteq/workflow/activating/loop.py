"""Async bodies: run on this thread's kept event loop, to quiescence.

A wait is a future. When no step is in progress, and the loop has nothing to run and no timer set, nothing that this
activation could bring about is left: all waits are left at once. The loop's selector tells: it is asked without a
timeout then, and only then.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from liteq.exceptions import WorkflowCancelled, WorkflowError
from liteq.utils.coroutines import kept_loop
from liteq.workflow.activating.held import close_all
from liteq.workflow.activating.pending import Pending
from liteq.workflow.calling.scope import Scope
from liteq.workflow.history.frames import Leave, enter, here, leave
from liteq.workflow.history.machine import Machine

__all__ = ["run_body"]

LOOP_LOOK_S = 1.0  # whether the loop of a test is still there


class Watch:
    """The loop's selector, with an ear for the moment in which there is nothing to run and no timer."""

    def __init__(self, inner: selectors.BaseSelector, idle: Callable[[float | None], bool]) -> None:
        self.inner = inner
        self._idle = idle

    def select(self, timeout: float | None = None) -> Any:
        """As the selector's own; at once, where the end of all waits has given the loop something to run."""
        if timeout != 0 and self._idle(timeout):
            return self.inner.select(0)
        return self.inner.select(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
    """Make a task; one that a body creates has a scope of its own."""
    frame = here()
    if isinstance(frame, Scope):
        given = kwargs.pop("context", None)
        context = contextvars.copy_context() if given is None else given.copy()
        context.run(enter, frame.branch())
        kwargs["context"] = context
    task = asyncio.Task(coro, loop=loop, **kwargs)
    if frame is not None:
        task.add_done_callback(_left)
    pending = None if frame is None else frame.machine.pending
    if pending is not None and pending.tasks is not None:
        pending.tasks.add(task)
    return task


def _left(task: asyncio.Task[Any]) -> None:
    """Note that the exception of a task that was left is known: asyncio would log it, as nobody awaits the task."""
    if not task.cancelled() and isinstance(task._exception, (Leave, WorkflowCancelled)):  # not exception(): that looks
        task.exception()


def run_body(machine: Machine, scope: Scope, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run an async body until it returns or is left; what it returned, or raised.

    Under a running loop (a test that is async itself) it runs in a thread of its own; on that very loop, where the app
    names it (`WorkflowTest.arun`).
    """
    there: asyncio.AbstractEventLoop | None = getattr(machine.app, "workflow_loop", None)
    if there is not None:
        return _run_there(there, machine, scope, make)
    if asyncio._get_running_loop() is None:  # asked without an exception, which would be the context of the body's own
        return _run_on(kept_loop(), machine, scope, make)
    with ThreadPoolExecutor(1, thread_name_prefix="liteq-workflow") as pool:
        return pool.submit(contextvars.copy_context().run, _run_aside, machine, scope, make).result()


def _run_aside(machine: Machine, scope: Scope, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    machine.thread = get_ident()
    with asyncio.Runner() as runner:
        return _run_on(runner.get_loop(), machine, scope, make)


@contextmanager
def _watched(loop: Any, machine: Machine, scope: Scope, *, shared: bool = False) -> Iterator[Pending]:
    """A block in which `loop` tells when the body of `machine`, whose tasks it makes, has come to rest."""
    pending = Pending(machine, loop, shared=shared)
    before, selector = loop.get_task_factory(), loop._selector
    loop._selector = Watch(selector, pending.is_idle)
    loop.set_task_factory(factory)
    machine.pending = pending
    machine.wake = lambda: loop.call_soon(pending.leave_all, machine.leaving)
    token = enter(scope)
    try:
        yield pending
    finally:
        leave(token)
        machine.wake = machine.pending = None
        loop._selector = selector
        loop.set_task_factory(before)


def _run_on(loop: Any, machine: Machine, scope: Scope, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with _watched(loop, machine, scope) as pending:
        main = asyncio.Task(make(), loop=loop)
        try:
            return loop.run_until_complete(main)
        finally:
            loop.run_until_complete(asyncio.Task(_finish(pending, main), loop=loop))


def _run_there(loop: Any, machine: Machine, scope: Scope, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a body on `loop`, which runs in another thread, among the tasks that it has."""
    if not hasattr(loop, "_selector"):
        raise WorkflowError(f"arun() needs a loop of asyncio's own, not {type(loop).__qualname__}: use run()")
    context, ended = contextvars.copy_context(), Future[asyncio.Task[Any]]()

    async def run() -> None:
        machine.thread = get_ident()
        try:
            with _watched(loop, machine, scope, shared=True) as pending:
                main = asyncio.Task(make(), loop=loop)
                try:
                    await asyncio.wait({main})
                finally:
                    await _finish(pending, main)
        except BaseException as exc:
            ended.set_exception(exc)
            raise
        ended.set_result(main)

    made: list[asyncio.Task[None]] = []
    loop.call_soon_threadsafe(lambda: made.append(asyncio.Task(run(), loop=loop, context=context)))
    while True:
        try:
            return ended.result(LOOP_LOOK_S).result()
        except FutureTimeoutError:
            if not ended.done() and not loop.is_running():
                raise WorkflowError("the loop that arun() was called in has ended") from None
            if ended.done():
                raise


async def _finish(pending: Pending, main: asyncio.Task[Any]) -> None:
    """Let steps in progress end, and end every other task: none outlives its activation."""
    machine = pending.machine
    left = machine.leaving is None
    if left:
        machine.leaving = Leave("the body has ended")
    try:
        for _ in range(100):  # a branch's clean-up may create another task
            if pending.steps:
                await asyncio.wait(set(pending.steps))
            others = pending.others(main)
            if not main.done():
                others.append(main)
            if not others:
                break
            for task in others:
                task.cancel()
            await asyncio.wait(others)
            for task in others:
                if not task.cancelled():
                    task.exception()
        if pending.sessions:
            await close_all(pending)
        machine.is_collected = pending.is_collected(main)
    finally:
        if left:
            machine.leaving = None
