"""Greenlets: gevent puts its own kind of thread and lock in the place of Python's, all of them in one native thread.

A system call that waits then stops everybody, also the one whose turn it is. So what waits, waits in a native thread.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["allocate_lock", "are_threads", "call", "start_new_thread"]

T = TypeVar("T")


def _native(name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return getattr(_thread, name) if monkey is None else monkey.get_original("_thread", name)


# As the interpreter has them.
start_new_thread, allocate_lock = _native("start_new_thread"), _native("allocate_lock")


def are_threads() -> bool:
    """Whether what this process takes for threads are greenlets; one comparison."""
    return _thread.start_new_thread is not start_new_thread


def call(function: Callable[[str], T], argument: str) -> T:
    """`function(argument)`, in a native thread where this one is shared by greenlets."""
    gevent = sys.modules.get("gevent") if are_threads() else None
    if gevent is None:
        return function(argument)
    result: T = gevent.get_hub().threadpool.apply(function, (argument,))
    return result
