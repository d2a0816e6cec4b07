"""Interrupts: a signal's handler that raises inside a storage call leaves no transaction open.

It may raise between any two steps, even at the entry of an `__exit__`, before its first line. The `with` block is left
then, and what the manager should have done is not. It is not collected either: the traceback holds it for as long as
the exception is being handled. So each verb, one frame further out, has the managers that are found in the traceback
give up what they still have. Soft time limits do not come so far: worker/pool/limits.py holds them back meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isgeneratorfunction, unwrap
from types import CodeType, FunctionType
from typing import Any, TypeVar

__all__ = ["leaves_nothing_open", "managers"]

C = TypeVar("C", bound=type)

# The code of each `__enter__` and `__exit__` that must not be lost, with what gives up the manager's session instead.
managers: dict[CodeType, Callable[[Any], None]] = {}


def leaves_nothing_open(cls: C) -> C:
    """Class decorator: whatever a public method of `cls` raises, no transaction of its own stays open behind it."""
    for name, function in list(vars(cls).items()):
        if isinstance(function, FunctionType) and name[0] != "_" and not isgeneratorfunction(unwrap(function)):
            setattr(cls, name, _closing(function))
    return cls


def _closing(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def verb(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            _give_up(error)
            raise

    return verb


def _give_up(error: BaseException) -> None:
    trace = error.__traceback__
    while trace is not None:
        give_up = managers.get(trace.tb_frame.f_code)
        if give_up is not None:
            give_up(trace.tb_frame.f_locals["self"])
        trace = trace.tb_next
