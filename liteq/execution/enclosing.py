"""The surroundings of an execution: a tracer, the app's context, its middleware.

In this order. The tracer is what a program has put in the place of `tracing.build_tracer`, the context
`LiteQ.around_task`. Those two cannot change the outcome; middleware can, by what it returns and raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from liteq.context import Request, enter, leave
from liteq.execution.plan import Executed, Plan
from liteq.execution.tracing import as_traced, trace_ok_t
from liteq.middleware import Execution
from liteq.utils.records import NamedTuple

__all__ = ["Whole", "enclosed"]

logger = logging.getLogger("liteq.execution")


class Whole(NamedTuple):
    """One execution as what is around it sees it: `run` it, and make the outcome of an exception or a value."""

    task: Any
    request: Request
    args: Any
    kwargs: Any
    run: Callable[[], Executed]
    raised: Callable[[Exception], Executed]
    failed: Callable[[BaseException], Executed]
    returned: Callable[[Any, float], Executed]


def enclosed(plan: Plan, whole: Whole) -> Executed:
    """Run it inside all that is around it."""
    executed: Executed | None = None
    task, request = whole.task, whole.request

    def run() -> trace_ok_t:
        nonlocal executed
        started = task.app.clock.monotonic()
        with nullcontext() if plan.around is None else plan.around(task, request):
            executed = whole.run() if plan.through is None else _through(plan.through, whole)
            if executed.exc is not None and plan.around is not None:
                raise executed.exc  # so that it is left as by any code that raises
        return trace_ok_t(executed.retval, executed.einfo, task.app.clock.monotonic() - started, "")

    try:
        if plan.tracer is None:
            run()
        else:
            as_traced(plan.tracer, run, request)
    except BaseException as exc:
        if executed is not None and exc is executed.exc:
            return executed
        if not isinstance(exc, Exception):
            raise
        if executed is None:  # there is nothing the task could run in: that is its failure, to be retried as others
            return whole.raised(exc)
        logger.exception("the context around task %s[%s] raised; the task's outcome stands", task.name, request.id)
    if executed is None:
        return whole.failed(RuntimeError(f"the tracer of task {task.name!r} did not run it"))
    return executed


def _through(through: Callable[[Execution, Callable[[Execution], Any]], Any], whole: Whole) -> Executed:
    """Run it inside the app's middleware, and make the outcome that this has changed, if it has."""
    executed: Executed | None = None
    request, clock = whole.request, whole.task.app.clock

    def run(_execution: Execution) -> Any:
        nonlocal executed
        executed = whole.run()
        if executed.exc is not None:
            raise executed.exc
        return executed.retval

    started = clock.monotonic()
    token = enter(whole.task, request)  # what middleware sends has the task as its parent
    try:
        value = through(request.execution(whole.task.name, whole.args, whole.kwargs), run)
    except BaseException as exc:
        if executed is not None and exc is executed.exc:
            return executed
        if not isinstance(exc, Exception):
            raise
        return whole.raised(exc)
    finally:
        leave(token)
    if executed is not None and executed.exc is None and value is executed.retval:
        return executed
    return whole.returned(value, clock.monotonic() - started)
