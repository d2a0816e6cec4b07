"""Any function as a step: `ctx.run(fn, ...)`, `ctx.step(name, fn, ...)`, and what a saga is given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from liteq.context import App
from liteq.exceptions import WorkflowError
from liteq.workflow.declared.step import Step

if TYPE_CHECKING:
    from liteq.workflow.declared.step_options import StepOptions

__all__ = ["as_step", "named_step"]

_made: WeakKeyDictionary[Any, Step[Any, Any]] = WeakKeyDictionary()


def as_step(app: App, fn: Any) -> Step[Any, Any]:
    """`fn` as a step: itself, where it is one; a task's function under the task's name; any other under its own."""
    if isinstance(fn, Step):
        return fn
    if not callable(fn):
        raise WorkflowError(f"ctx.run and saga.add take a function or a step, not {fn!r}: `ctx.run(fn, *args)`")
    if getattr(fn, "is_workflow", False):
        raise WorkflowError(f"{fn!r} is a workflow, which is no step: ctx.call() it")
    try:
        found = _made.get(fn)
    except TypeError:  # a bound method of something unhashable
        return _make(app, fn)
    if found is None or found.app is not app:
        found = _make(app, fn)
        try:
            _made[fn] = found
        except TypeError:
            pass
    return found


def _make(app: App, fn: Any) -> Step[Any, Any]:
    if hasattr(fn, "apply_async") and hasattr(fn, "name"):  # a task: its function, without a message
        return Step(app, fn.run, fn.name, {})
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    qualname = getattr(inner, "__qualname__", type(inner).__qualname__)
    module = getattr(inner, "__module__", None) or type(inner).__module__
    return Step(app, fn, f"{module}.{qualname}", {})


# -- steps that are named where they are called -----------------------------------------------------------------------

HASHED = inspect.Signature([inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)])


def named_step(
    app: App, name: str, fn: Any, key: str | None, args: Sequence[Any], options: StepOptions | None, *, is_async: bool
) -> Step[Any, Any]:
    """`fn` as the step `name`, for one call. In an async body it may return its value or an awaitable of it.

    Raises WorkflowError for what is no function, TypeError and ValueError for a name or a key that is none.
    """
    if not callable(fn) or getattr(fn, "is_workflow", False):
        raise WorkflowError(f"step {name!r} is of a function, which is called with its args=, not of {fn!r}")
    if isinstance(args, (str, bytes)) or not isinstance(args, Sequence):
        raise TypeError(f"step {name!r}: args is a list or a tuple, not {args!r}")
    given: dict[str, Any] = {} if options is None else dict(options.given)
    if key is not None:
        given["key"] = key
    if isinstance(fn, Step):
        fn, given = fn.function, {**fn.given, **given}
    elif hasattr(fn, "apply_async") and hasattr(fn, "name"):
        fn = fn.run
    step: Step[Any, Any] = Step(app, fn if _takes(fn, args) else _without_arguments(fn), name, given)
    if is_async and not step.tx:
        step.may_block, step.is_async = not step.is_async, True
    return step


def _takes(fn: Callable[..., Any], args: Sequence[Any]) -> bool:
    """Whether `fn` can be called with `args`; one that takes nothing is called without them."""
    if not args:
        return True
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):  # of a built-in
        return True
    return bool(parameters)


def _without_arguments(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, to be called with arguments that are only hashed."""

    def call(*_args: Any) -> Any:
        return fn()

    try:
        functools.update_wrapper(call, fn)
    except AttributeError:  # of an object of the user's
        pass
    call.__signature__ = HASHED  # type: ignore[attr-defined]
    return call
