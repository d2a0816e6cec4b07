"""Interrupts: a signal's handler that raises inside a storage call leaves no transaction open.

It may raise between any two steps, even at the entry of an `__exit__`, before its first line. The `with` block is left
then, and what the manager should have done is not. It is not collected either: the traceback holds it for as long as
the exception is being handled. So each verb, one frame further out, has the managers that are found in the traceback
give up what they still have. Soft time limits do not come so far: worker/pool/limits.py holds them back meanwhile.

The same frame runs a verb again whose transaction another one's has ended: an engine with several writers at a time
resolves a deadlock so (`StorageConflict`). A verb is one transaction and takes its input before it begins, so nothing
of the first run is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from inspect import isgeneratorfunction, unwrap
from random import uniform
from time import sleep
from types import CodeType, FunctionType
from typing import Any, Final, TypeVar

from liteq.exceptions import StorageConflict

__all__ = ["after", "closes_itself", "leaves_nothing_open", "managers"]

AGAIN: Final = 6  # times: a deadlock of many writers is over when the first of them has committed
PAUSE_S: Final = 0.01  # before the second run; twice that before each further one

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

# The code of each `__enter__` and `__exit__` that must not be lost, with what gives up the manager's session instead.
managers: dict[CodeType, Callable[[Any], None]] = {}


def leaves_nothing_open(cls: C) -> C:
    """Class decorator: whatever a public method of `cls` raises, no transaction of its own stays open behind it."""
    for name, function in list(vars(cls).items()):
        if not isinstance(function, FunctionType) or name[0] == "_" or hasattr(function, "closes_itself"):
            continue
        if not isgeneratorfunction(unwrap(function)):
            setattr(cls, name, _closing(function))
    return cls


def closes_itself(function: F) -> F:
    """Decorator: `function` calls `after` itself. For those that are called for each message: a wrapper costs."""
    function.closes_itself = True  # type: ignore[attr-defined]
    return function


def _closing(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def verb(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again by `after`
            return after(error, function, *args, **kwargs)

    return verb


def after(error: BaseException, verb: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Leave nothing open behind `error`, raised by `verb`; after a conflict run it again, a few times, with pauses.

    Raises `error`, or that of the last run. An iterator among the arguments has been read by the first run: then there
    is no second one.
    """
    give_up(error)
    for n in range(AGAIN):
        if not isinstance(error, StorageConflict) or any(
            isinstance(arg, Iterator) for arg in (*args, *kwargs.values())
        ):
            break
        sleep(uniform(0, PAUSE_S * 2**n))
        try:
            return verb(*args, **kwargs)
        except BaseException as another:  # noqa: BLE001 - raised again below
            give_up(another)
            error = another
    raise error


def give_up(error: BaseException) -> None:
    """Roll back and close what is still open in the frames that `error` came through."""
    trace = error.__traceback__
    while trace is not None:
        drop = managers.get(trace.tb_frame.f_code)
        if drop is not None:
            drop(trace.tb_frame.f_locals["self"])
        trace = trace.tb_next
