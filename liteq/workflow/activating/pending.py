"""`Pending`: the waits and the steps of an async body that runs, and the moment in which it has come to rest."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, NoReturn
from weakref import WeakSet

from liteq.exceptions import StepTimeout, WorkflowCancelled
from liteq.message import Release, StepRow
from liteq.workflow.calling.scope import Scope
from liteq.workflow.calling.waits import give_up
from liteq.workflow.history.calls import Pend
from liteq.workflow.history.frames import Leave, enter, frame_in, here, leave
from liteq.workflow.history.machine import Machine
from liteq.workflow.history.places import Wait
from liteq.workflow.stepping.alarm import limited
from liteq.workflow.stepping.attempts import Attempts
from liteq.workflow.stepping.call import UNSEEN
from liteq.workflow.stepping.doubt import resolved_async
from liteq.workflow.stepping.limits import alone
from liteq.workflow.stepping.limits import enter as enter_limits
from liteq.workflow.stepping.special import LOOK_S, MISSING, WAITING, look_up

__all__ = ["Pending", "is_lost"]


class Pending:
    """The waits and the steps of one activation of an async body.

    `tasks`: those of its body and its steps; None where the loop has no others. `sessions`: see held.py.
    """

    def __init__(self, machine: Machine, loop: asyncio.AbstractEventLoop, *, shared: bool = False) -> None:
        self.machine = machine
        self.loop = loop
        self.waits: dict[asyncio.Future[Any], tuple[Wait, Scope]] = {}
        self.left: set[asyncio.Task[Any] | None] = set()  # those that waited when the body was left
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

    def is_collected(self, main: asyncio.Task[Any]) -> bool:
        """Whether no code has caught what the body was left by: it was handed on, among the results of a gather."""
        return (
            bool(self.left)
            and main not in self.left
            and all(
                task is not None and task.done() and (task.cancelled() or isinstance(task.exception(), Leave))
                for task in self.left
            )
        )

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
        if isinstance(self.machine.outcome, (BaseException, Release)) and is_lost(self.machine):
            for step in self.steps:
                step.cancel()

    def leave_for(self, wait: Wait) -> NoReturn:
        """Leave the body until `wait` is over, or another one: a plain step holds the loop, and nobody awaits it."""
        self.left.add(asyncio.current_task(self.loop))
        self.machine.suspend([*(one for one, _ in self.waits.values()), wait])

    @staticmethod
    def _end(future: asyncio.Future[Any], exc: BaseException) -> None:
        if not future.done():
            future.set_exception(exc)

    async def wait(self, wait: Wait) -> Any:
        """Wait for something that another activation will bring: until this one is left."""
        frame = here()
        future: asyncio.Future[Any] = self.loop.create_future()
        self.waits[future] = (wait, frame)
        try:
            return await future
        except Leave:
            self.left.add(asyncio.current_task(self.loop))
            raise
        except asyncio.CancelledError:
            if self.machine.leaving is None:  # by code of the body, and not by its end
                give_up(self.machine, wait)
            raise
        finally:
            self.waits.pop(future, None)

    async def attempt(self, call: Attempts, row: StepRow | None) -> Any:
        """Run an `async def` step until it has returned, has failed for good, or waits for its next attempt."""
        return await run_attempts(self, call, row)


def is_lost(machine: Machine) -> bool:
    """Whether nothing of the activation counts any more: its lease is over, or nothing can be written."""
    outcome = machine.outcome
    return isinstance(outcome, BaseException) or (
        isinstance(outcome, Release) and not (machine.stop and machine.stop())
    )


# -- steps -----------------------------------------------------------------------------------------------------------


async def run_attempts(pending: Pending, call: Attempts, row: StepRow | None) -> Any:
    """Run an `async def` step until it has returned, has failed for good, or waits for its next attempt."""
    machine = call.machine
    try:
        if row is not None and call.step.doubt is None:
            call.go_on(row)
        machine.front(call.scope, call.place)
    except Pend as pend:
        return await pending.wait(pend.wait)
    task: asyncio.Task[Any] = asyncio.Task(_attempts(call, row), loop=pending.loop)
    pending.steps.add(task)
    task.add_done_callback(_done)
    task.add_done_callback(pending.steps.discard)
    found = await asyncio.shield(task)  # the cancellation of a branch does not reach a step
    if isinstance(found, Wait):
        return await pending.wait(found)
    return found[0]


def _done(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # told to the branch, where that still waits


async def _attempts(call: Attempts, row: StepRow | None) -> Any:
    """(result,) of a step; or what it has to wait for."""
    machine = call.machine
    try:
        if call.step.doubt is not None:
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
        if machine.leaving is not None and is_lost(machine):
            raise
        return RuntimeError(f"{step.what} was cancelled from inside: {exc}")
    finally:
        leave(token)
        call.stopped(slot)
