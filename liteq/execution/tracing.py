"""`build_tracer`: the place where programs written for Celery wrap the execution of a task, Sentry's SDK among them.

They put a function of their own in place of `build_tracer`. While nobody has, a plan has no tracer and an execution
costs nothing more. `celery.app.trace` of the alias package is this module itself, so that it can be replaced there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Protocol

from liteq.utils.records import NamedTuple

__all__ = [
    "LOG_SUCCESS", "Tracer", "as_traced", "build_tracer", "is_stale", "own_line", "task_has_custom", "trace_ok_t",
    "tracer_of",
]  # fmt: skip


class Tracer(Protocol):
    """Runs a task once: the value that `build_tracer` returns."""

    def __call__(self, uuid: Any, args: Any, kwargs: Any, request: Any = None, /) -> Any:
        """Execute the task, and tell how it ended."""


class trace_ok_t(NamedTuple):  # noqa: N801 - Celery's name
    """The end of an execution: what the task returned or raised, its `einfo`, seconds, and its result as text."""

    retval: Any
    info: Any
    runtime: float
    retstr: str


LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
"""The line about a task that succeeded. A program puts another text in its place, to keep results out of its log.

Its names are `name`, `id`, `runtime`, `return_value`, `args` and `kwargs`.
"""
_LINE = LOG_SUCCESS
_run: ContextVar[Callable[[], trace_ok_t] | None] = ContextVar("liteq_traced_run", default=None)


def build_tracer(_name: str, task: Any, *_more: Any, propagate: bool = False, **_options: Any) -> Tracer:
    """The function that runs `task` once, as a worker does. Celery's other arguments have nothing to choose here.

    For programs that replace this function by one that wraps what it returns. Outside of an execution, what is
    returned runs the task as `task.apply` does.
    """

    def trace(uuid: Any, args: Any, kwargs: Any, _request: Any = None) -> trace_ok_t:
        run = _run.get()
        if run is not None:
            _run.set(None)  # a tracer that is called inside this task runs a task of its own
            return run()
        result = task.apply(args, kwargs, task_id=uuid, throw=propagate)
        return trace_ok_t(result.result, None, 0.0, repr(result.result))

    return trace


_OWN = build_tracer


def task_has_custom(task: Any, attr: str) -> bool:
    """Whether the class of `task`, or one between it and liteq's own, defines `attr`."""
    if attr == "__call__":
        return bool(task.has_custom_call())
    return any(attr in vars(cls) for cls in type(task).__mro__ if not cls.__module__.startswith("liteq."))


def own_line() -> str | None:
    """The text that a program has put in the place of `LOG_SUCCESS`; None where nobody has."""
    return None if LOG_SUCCESS is _LINE else str(LOG_SUCCESS)


# -- for plans -------------------------------------------------------------------------------------------------------


def tracer_of(task: Any) -> Tracer | None:
    """The tracer of `task` where `build_tracer` was replaced, else None. It may change the task, `task.run` say."""
    if build_tracer is _OWN:
        return None
    if iscoroutinefunction(task.run) and not task.has_custom_call():
        task.run = _run_to_its_end(task, task.run)
    tracer: Tracer = build_tracer(task.name, task, app=task.app)
    return tracer


def is_stale(tracer: Tracer | None) -> bool:
    """Whether `build_tracer` was replaced, or put back, after a plan with this tracer was made."""
    return (tracer is None) is not (build_tracer is _OWN)


def as_traced(tracer: Tracer, run: Callable[[], trace_ok_t], request: Any) -> None:
    """Have `tracer` execute `request`; the innermost of its functions calls `run`."""
    token = _run.set(run)
    try:
        tracer(request.id, request.args, request.kwargs, request)
    finally:
        _run.reset(token)


def _run_to_its_end(task: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    """An `async def` body as a function, in executions: a tracer around it sees its end, and its exception."""

    @wraps(run)
    def body(*args: Any, **kwargs: Any) -> Any:
        coroutine = run(*args, **kwargs)
        return coroutine if task.request.called_directly else task.plan.run_coroutine(coroutine)

    return body
