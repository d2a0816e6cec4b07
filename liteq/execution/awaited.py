"""One execution of an `async def` task on an event loop that it shares with others: the loop goes on while it awaits.

As `execute`, of whose parts it is made. Hooks and signals are called on the loop. What surrounds an execution as a
plain function cannot await: a tracer, and a middleware that has only `on_execute` (`Plan.awaits`).
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from liteq import signals
from liteq.clock import Clock
from liteq.context import Request, enter, leave
from liteq.execution.execute import UNRETURNED, _ended, _raised, _returned, _tell_start, _torn, call_hook
from liteq.execution.lines import LINES
from liteq.execution.paced import writer
from liteq.execution.plan import Executed, Plan
from liteq.message import Ack

__all__ = ["aexecute"]

logger = logging.getLogger("liteq.execution")


async def aexecute(task: Any, request: Request, args: Any, kwargs: Any, *, clock: Clock) -> Executed:
    """Run `task` once under `request`, as `execute` does; an exception of the task is an outcome, and not raised.

    Once `request._stopped` is set, the execution was ended from outside and has no outcome: CancelledError is raised,
    whatever its body made of that. Lets through what `execute` lets through.
    """
    plan: Plan = task.plan
    if plan.observer is None:
        return await _around(task, request, args, kwargs, clock)
    request._task = task
    with plan.observer.executing(task, request) as ended:
        executed = await _around(task, request, args, kwargs, clock)
        ended(executed.outcome, executed.exc)
        return executed


async def _around(task: Any, request: Request, args: Any, kwargs: Any, clock: Clock) -> Executed:
    """Run it inside the app's context, which does not change the outcome."""
    plan: Plan = task.plan
    if plan.around is None:
        return await _aexecute(task, request, args, kwargs, clock)
    executed: Executed | None = None
    try:
        with plan.around(task, request):
            executed = await _aexecute(task, request, args, kwargs, clock)
            if executed.exc is not None:
                raise executed.exc  # so that it is left as by any code that raises
    except BaseException as exc:
        if executed is not None and exc is executed.exc:
            return executed
        if not isinstance(exc, Exception):
            raise
        if executed is None:
            return _raised(task, plan.member, request, exc, clock)
        logger.exception("the context around task %s[%s] raised; the task's outcome stands", task.name, request.id)
    return executed


async def _aexecute(task: Any, request: Request, args: Any, kwargs: Any, clock: Clock) -> Executed:
    plan: Plan = task.plan
    request._task, request._loop = task, asyncio.get_running_loop()
    token = enter(task, request)
    executed: Executed | None = None
    started = request._started = clock.monotonic()
    if LINES.starts or plan.log_keep is not None:
        _tell_start(task, plan, request)
    try:
        if signals.task_prerun.receivers:
            signals.task_prerun.send(sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs)
        try:
            retval = await _body(plan, request, args, kwargs)
        except BaseException as exc:
            if request._stopped:
                raise asyncio.CancelledError from exc
            if isinstance(exc, Exception):
                executed = _raised(task, plan, request, exc, clock)
            else:
                executed = _torn(task, plan, request, exc)
        else:
            executed = _returned(task, plan, request, retval, True, clock.monotonic() - started)
        if plan.after_return is not None and executed.state not in UNRETURNED:
            value = executed.retval if executed.exc is None else executed.exc
            call_hook(plan.after_return, executed.state, value, request.id, args, kwargs, executed.einfo)
        return executed
    finally:
        try:
            if request._telling is not None:
                close = partial(request._telling.close, done=executed is not None and type(executed.outcome) is Ack)
                await asyncio.get_running_loop().run_in_executor(writer(), close)
            if signals.task_postrun.receivers or request._telling is not None:
                _ended(task, request, args, kwargs, executed)
        finally:
            leave(token)


async def _body(plan: Plan, request: Request, args: Any, kwargs: Any) -> Any:
    """The task's own code, and what it has left to its end."""
    if plan.before_start is not None:
        plan.before_start(request.id, args, kwargs)
    try:
        retval = await plan.coroutine(args, kwargs)
    finally:
        if request._disarm is not None:
            request._disarm()
    if request._telling is not None:
        await asyncio.get_running_loop().run_in_executor(writer(), request._telling.flush)
    if request.pending_retry is not None:
        raise request.pending_retry
    if request._stopped:  # it was told to end, and has taken no notice
        raise asyncio.CancelledError
    return retval
