"""Any function as a step: `ctx.run(fn, ...)`, and what a saga is given."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakKeyDictionary

from liteq.context import App
from liteq.exceptions import WorkflowError
from liteq.workflow.step import Step

__all__ = ["as_step"]

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
