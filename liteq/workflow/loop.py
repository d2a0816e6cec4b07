"""Async bodies: run on this thread's kept event loop, to quiescence.

A wait is a future. When no step is in progress, and the loop has nothing to run and no timer set, nothing that this
activation could bring about is left: all waits are left at once. The loop's selector tells: it is asked without a
timeout then, and only then.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from threading import get_ident
from typing import Any
from weakref import WeakSet

from liteq.exceptions import StepTimeout, WorkflowCancelled, WorkflowError
from liteq.message import Release, StepRow
from liteq.utils.coroutines import kept_loop
from liteq.workflow.attempts import UNSEEN, Attempts, limited
from liteq.workflow.calls import Pend
from liteq.workflow.frames import Leave, enter, frame_in, here, leave
from liteq.workflow.limits import alone
from liteq.workflow.limits import enter as enter_limits
from liteq.workflow.machine import Machine, Wait
from liteq.workflow.scope import Scope
from liteq.workflow.special import LOOK_S, MISSING, WAITING, look_up

__all__ = ["Pending", "pending_of", "run_attempts", "run_body", "waiting"]

LOOP_LOOK_S = 1.0  # whether the loop of a test is still there


class Pending:
    """The waits and the steps of one activation of an async body.

    `tasks`: those of its body and its steps; None where the loop has no others. `sessions`: see held.py.
    """

    def __init__(self, machine: Machine, loop: asyncio.AbstractEventLoop, *, shared: bool = False) -> None:
        self.machine = machine
        self.loop = loop
        self.waits: dict[asyncio.Future[Any], tuple[Wait, Scope]] = {}
        self.steps: set[asyncio.Task[Any]] = set()
        self.tasks: WeakSet[asyncio.Task[Any]] | None = WeakSet() if shared else None
        self.sessions: dict[Any, Any] = {}

    def rests(self, timeout: float | None) -> bool:
        """Whether the body has nothing to run, where the loop has nothing either for `timeout` seconds.

        A timer of the body's own is something to run. One of a step's that has ended, of a session that is held over
        the run, or of other users of the loop is not.
        """
        if self.steps or not self.waits or (timeout is not None and timeout <= 0):
            return False
        return timeout is None or not any(self._is_own(timer) for timer in getattr(self.loop, "_scheduled", ()))

    def _is_own(self, timer: Any) -> bool:
        frame = frame_in(timer._context)
        return not timer.cancelled() and isinstance(frame, Scope) and frame.machine is self.machine

    def is_idle(self, timeout: float | None = None) -> bool:
        """Leave all waits, where nothing else is to be done; whether that was so."""
        if not self.rests(timeout):
            return False
        machine = self.machine
        if machine.leaving is not None:
            self.leave_all(machine.leaving)
        elif not self._obeyed():
            try:
                machine.suspend([wait for wait, _ in self.waits.values()])
            except Leave as left:
                self.leave_all(left)
        return True

    def others(self, main: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
        """The tasks beside `main` that have not ended, and are no sessions."""
        tasks = asyncio.all_tasks(self.loop) if self.tasks is None else set(self.tasks)
        tasks -= {main, asyncio.current_task(self.loop), *(session.task for session in self.sessions.values())}
        return [task for task in tasks if not task.done()]

    def _obeyed(self) -> bool:
        """Whether something was asked of the run, and has been told to the branches that wait."""
        machine, told = self.machine, False
        if machine.asked is None:
            return False
        for future, (wait, scope) in list(self.waits.items()):
            try:
                machine.obey(scope, wait.place)
            except (Leave, WorkflowCancelled) as exc:
                self._end(future, exc)
                told = True
        return told

    def leave_all(self, exc: BaseException) -> None:
        """Raise `exc` in all that waits."""
        for future in list(self.waits):
            self._end(future, exc)
        if isinstance(self.machine.outcome, (BaseException, Release)) and _is_lost(self.machine):
            for step in self.steps:
                step.cancel()

    @staticmethod
    def _end(future: asyncio.Future[Any], exc: BaseException) -> None:
        if not future.done():
            future.set_exception(exc)


def _is_lost(machine: Machine) -> bool:
    outcome = machine.outcome
    return isinstance(outcome, BaseException) or (
        isinstance(outcome, Release) and not (machine.stop and machine.stop())
    )


_pending: dict[int, Pending] = {}  # by the id of a machine that runs


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
    pending = None if frame is None else _pending.get(id(frame.machine))
    if pending is not None and pending.tasks is not None:
        pending.tasks.add(task)
    return task


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
    _pending[id(machine)] = pending
    machine.wake = lambda: loop.call_soon(pending.leave_all, machine.leaving)
    token = enter(scope)
    try:
        yield pending
    finally:
        leave(token)
        machine.wake = None
        del _pending[id(machine)]
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
            from liteq.workflow.held import close_all

            await close_all(pending)
    finally:
        if left:
            machine.leaving = None


def pending_of(machine: Machine) -> Pending:
    """The waits and steps of the body that `machine` runs. Raises KeyError where that is not async."""
    return _pending[id(machine)]


async def waiting(machine: Machine, wait: Wait) -> Any:
    """Wait for something that another activation will bring: until this one is left."""
    pending = _pending[id(machine)]
    frame = here()
    future: asyncio.Future[Any] = pending.loop.create_future()
    pending.waits[future] = (wait, frame)
    try:
        return await future
    finally:
        pending.waits.pop(future, None)


# -- steps -----------------------------------------------------------------------------------------------------------


async def run_attempts(call: Attempts, row: StepRow | None) -> Any:
    """Run an `async def` step until it has returned, has failed for good, or waits for its next attempt."""
    machine = call.machine
    machine.check()
    pending = _pending[id(machine)]
    try:
        if row is not None and call.step.doubt is None:
            call.go_on(row)
        machine.front(call.scope, call.place)
    except Pend as pend:
        return await waiting(machine, pend.wait)
    task: asyncio.Task[Any] = asyncio.Task(_attempts(call, row), loop=pending.loop)
    pending.steps.add(task)
    task.add_done_callback(_done)
    task.add_done_callback(pending.steps.discard)
    found = await asyncio.shield(task)  # the cancellation of a branch does not reach a step
    if isinstance(found, Wait):
        return await waiting(machine, found)
    return found[0]


def _done(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # told to the branch, where that still waits


async def _attempts(call: Attempts, row: StepRow | None) -> Any:
    """(result,) of a step; or what it has to wait for."""
    machine = call.machine
    try:
        if call.step.doubt is not None:
            from liteq.workflow.doubt import resolved_async

            known = await resolved_async(call, row)
            if known is not None and known.value:
                return known.value
            if row is not None and known is None:
                call.go_on(row)
        while True:
            if call.step.keyed is None:
                failure = await _attempt(call)
            else:
                async with alone(call):
                    failure = await _attempt(call)
            if not isinstance(failure, BaseException):
                return failure
            if machine.leaving is not None:
                raise machine.leaving
            pause_s = call.failed(failure)
            if pause_s:
                await asyncio.sleep(pause_s)
    except Pend as pend:
        return pend.wait


async def _enter(call: Attempts) -> None:
    """Take what limits and budgets ask for before an attempt. Raises Pend where the run is to wait."""
    pause_s = enter_limits(call)
    while pause_s:
        await asyncio.sleep(pause_s)
        pause_s = enter_limits(call)


async def _attempt(call: Attempts) -> Any:
    """(result,) of one attempt, or its exception."""
    step, machine = call.step, call.machine
    if not step.is_memo and call.is_metered():
        await _enter(call)
    slot = call.begin()
    token = enter(call)
    limit = asyncio.timeout(step.timeout_s)
    try:
        if step.is_memo:
            found = look_up(call)
            while found is WAITING:
                await asyncio.sleep(LOOK_S)
                found = look_up(call)
            if found is not MISSING:
                return (found,)
            if call.is_metered():
                await _enter(call)
        with call.seen():
            async with limit:
                with limited(machine, step.timeout_s) if step.may_block else UNSEEN:
                    value = call.function()(*call.args, **call.kwargs)
                if inspect.isawaitable(value):  # a test's stand-in may return at once
                    value = await value
            return (call.returned(value),)
    except TimeoutError as exc:
        if not limit.expired():
            return exc
        return StepTimeout(f"{step.what} took longer than its timeout of {step.timeout_s:g} s")
    except Exception as exc:  # noqa: BLE001 - of the step: it is retried, or recorded
        return exc
    except asyncio.CancelledError as exc:
        if machine.leaving is not None and _is_lost(machine):
            raise
        return RuntimeError(f"{step.what} was cancelled from inside: {exc}")
    finally:
        leave(token)
        call.stopped(slot)
