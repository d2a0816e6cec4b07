"""Task classes with an `apply_async` of their own, in signatures and canvases.

Such a method adds what its program needs: a header with the tenant, an argument, an errback, a line in a journal. A
canvas is compiled to rows, so nobody sends its parts one by one; yet each is to go out as its class wants it. So the
method is asked: it is called as for a message, and what it passes on to `Task.apply_async` is what its row is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

__all__ = ["Told", "ask", "is_passed_on", "passed_on", "passing_on"]


class Told(NamedTuple):
    """What reached `Task.apply_async`."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: dict[str, Any]


class _Question:
    """A call that is not sent: how it would have been is what is asked for."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.answer: Told | None = None


_asked: ContextVar[_Question | None] = ContextVar("liteq_overriding_asked", default=None)
_passing: ContextVar[Any] = ContextVar("liteq_overriding_passing", default=None)


def ask(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Told:
    """This call as the `apply_async` of the task's class wants it sent.

    Raises what that raises, and TypeError where it sends nothing: a canvas cannot wait for what does not come.
    """
    if _passing.get() is task:  # it has been asked, and this is what came of it
        _passing.set(None)
        return Told(args, kwargs, dict(options))
    question = _Question(task)
    token = _asked.set(question)
    try:
        task.apply_async(args, kwargs, **options)
    finally:
        _asked.reset(token)
    if question.answer is None:
        raise TypeError(
            f"the apply_async of {task.name!r} did not call super().apply_async: nothing was sent that the rest of "
            "this canvas could wait for"
        )
    return question.answer


def passed_on(task: Any, told: Told, result: Callable[[str | None], Any]) -> Any:
    """Keep `told` for who asked; None where nobody did, so that it is to be sent. `result` is made of its id."""
    question = _asked.get()
    if question is None or question.task is not task or question.answer is not None:
        return None
    question.answer = told
    return result(told.options.get("task_id"))


def is_passed_on(task: Any) -> bool:
    """Whether what is sent of `task` next has been through its class's `apply_async`."""
    return _passing.get() is task


@contextmanager
def passing_on(task: Any) -> Iterator[None]:
    """What is sent of `task` next has been through its class's `apply_async`."""
    token = _passing.set(task)
    try:
        yield
    finally:
        _passing.reset(token)
