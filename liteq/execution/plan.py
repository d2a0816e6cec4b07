"""`Plan`: the body, hooks and options of a task, looked up once for all of its executions; `Executed`: an outcome."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeGuard, TypeVar

from liteq.context import Around, Observer, Request, current_request
from liteq.execution.tracing import tracer_of
from liteq.message import Outcome
from liteq.middleware import Execution, ThroughAsync
from liteq.policy.kept import log_keep_ms
from liteq.policy.retry import RetryPolicy
from liteq.serialization import Content
from liteq.utils.records import NamedTuple

__all__ = ["ExceptionInfo", "Executed", "Plan", "default_hook", "hook_of", "is_awaited"]

F = TypeVar("F", bound=Callable[..., Any])


def default_hook(function: F) -> F:
    """Mark a hook of the base class, which does nothing, so that it is never called.

    The mark is the hook itself: `functools.wraps` gives it to a wrapper too, which does something.
    """
    function.__liteq_default__ = function  # type: ignore[attr-defined]
    return function


class ExceptionInfo:
    """The `einfo` of hooks and signals: the exception and, as text made when asked for, its traceback."""

    internal = False

    def __init__(self, exception: BaseException, tb: TracebackType | None = None) -> None:
        self.type = type(exception)
        self.exception = exception
        self.tb = tb if tb is not None else exception.__traceback__
        self._text: str | None = None

    @property
    def traceback(self) -> str:
        if self._text is None:
            self._text = "".join(traceback.format_exception(self.type, self.exception, self.tb))
        return self._text

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, TracebackType | None]:
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


class Executed(NamedTuple):
    """The end of an execution: the outcome to settle; for eager results and logs, its return value or exception."""

    outcome: Outcome
    state: str
    retval: Any
    exc: BaseException | None = None
    einfo: ExceptionInfo | None = None


class Plan:
    """A task as `execute` needs it, looked up once: the body, and only those hooks that do something."""

    __slots__ = (
        "after_return",
        "around",
        "before_start",
        "body",
        "content",
        "depth",
        "error_limit",
        "form",
        "ignore_result",
        "is_async",
        "is_enclosed",
        "log_keep",
        "observer",
        "on_failure",
        "on_retry",
        "on_success",
        "policy",
        "result_content",
        "result_limit",
        "retry",
        "run_coroutine",
        "through",
        "tracer",
        "what",
    )

    def __init__(self, task: Any) -> None:
        conf = task.app.conf
        self.tracer = tracer_of(task)  # the first of all: it may change the task
        self.around: Around | None = task.app.integrations.around_task()
        self.observer: Observer | None = task.app.integrations.observer()
        self.is_async = inspect.iscoroutinefunction(task.run)
        self.through = task.app.middleware.around(is_async=self.is_async)
        enclosing = (self.around, self.tracer, self.observer, self.through)
        self.is_enclosed = any(one is not None for one in enclosing)
        self.body: Callable[..., Any] = task if task.has_custom_call() else task.run
        if self.is_async and (through := task.app.middleware.around_async()) is not None:
            self.body = _through_async(through, task, self.body)
        self.run_coroutine: Callable[[Any], Any] = task.app.integrations.coroutine_runner() or _run_coroutine
        self.before_start = hook_of(task, "before_start")
        self.on_success = hook_of(task, "on_success")
        self.on_failure = hook_of(task, "on_failure")
        self.on_retry = hook_of(task, "on_retry")
        self.after_return = hook_of(task, "after_return")
        self.ignore_result = bool(task.ignore_result)
        self.log_keep = log_keep_ms(task.log_keep, f"task {task.name!r}")
        self.policy = RetryPolicy.of(task) if task.autoretry_for else None
        self.retry = hook_of(task, "retry")
        if self.policy is not None and self.policy.retry_kwargs.keys() - {"max_retries", "countdown"}:
            self.retry = task.retry  # which knows what the others (`queue`, `priority`) change of the message
        self.what = f"the result of task {task.name!r}"
        self.result_limit: int = conf.max_result_bytes
        self.depth: int = conf.max_nesting
        self.content: Content = task.app.content
        self.result_content: Content = task.app.result_content
        json = conf.result_serializer in {"json", "application/json"} and not conf.result_compression
        self.form: tuple[str, str | None] | None = None if json else (conf.result_serializer, conf.result_compression)
        self.error_limit: int = conf.max_traceback_bytes

    @property
    def member(self) -> Plan:
        """The plan of one message: this one; of a task with batches, the one for each message in them."""
        return self

    @property
    def awaits(self) -> bool:
        """Whether the body can be awaited on a loop that others share (awaited.py): nothing around it is in the way."""
        return self.member.is_async and self.tracer is None and self.through is None

    def coroutine(self, args: Any, kwargs: Any) -> Coroutine[Any, Any, Any]:
        """The body, called with these arguments, as what is to be awaited."""
        value = self.body(*args, **kwargs)
        return value if is_awaited(value) else _at_once(value)


def hook_of(task: Any, name: str) -> Callable[..., Any] | None:
    """The hook of this name, where the task's class has one of its own, or the task itself."""
    hook: Callable[..., Any] | None = getattr(task, name, None)  # a workflow has fewer
    function = getattr(hook, "__func__", hook)
    return None if getattr(function, "__liteq_default__", None) is function else hook


def _through_async(through: ThroughAsync, task: Any, body: Callable[..., Any]) -> Callable[..., Any]:
    """`body`, an async function, with the app's middleware around it in its event loop."""

    async def passed(*args: Any, **kwargs: Any) -> Any:
        async def run(_execution: Execution) -> Any:
            value = body(*args, **kwargs)
            return await value if is_awaited(value) else value

        request = current_request() or Request()
        return await through(request.execution(task.name, args, kwargs), run)

    return passed


def is_awaited(value: Any) -> TypeGuard[Coroutine[Any, Any, Any]]:
    """Whether what the body of an `async def` task was left with is to be awaited.

    A class may have a `__call__` that runs it to its end itself: `return asyncio.run(self.run(*args))`.
    """
    return isinstance(value, Coroutine)


async def _at_once(value: Any) -> Any:
    return value


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    from liteq.utils.coroutines import run_coroutine  # asyncio, only where a task needs it

    return run_coroutine(coroutine)
