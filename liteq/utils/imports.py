"""Imports: in the start of a process, and by other threads than the one that forks it."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import _bootstrap
from typing import Any

__all__ = ["seldom_collected", "settle"]

PAUSE_S = 0.005
SELDOM = 20_000  # new objects until the collector looks at them, instead of 700


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Have the garbage collector look seldom while modules are imported: nearly all that they make is to stay.

    With the usual threshold its looks take a sixth of the time of the imports.
    """
    young, *older = gc.get_threshold()
    if young:  # 0: the program does without it
        gc.set_threshold(max(young, SELDOM), *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)


def settle(within_s: float, of: str = "") -> bool:
    """Wait until no other thread imports a module whose name begins with `of`, at most `within_s` seconds.

    Returns whether that came. A process that is forked meanwhile has the locks of what is imported, and nobody there to
    let them go.
    """
    end = time.monotonic() + within_s
    while _others_import(of):
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_S)
    return True


def _others_import(of: str) -> bool:
    # The import system keeps a lock a module; there is no public way to ask for them.
    me = threading.get_ident()
    locks: dict[str, Any] = getattr(_bootstrap, "_module_locks", {})
    held = [ref() for name, ref in list(locks.items()) if name.startswith(of)]
    return any(getattr(lock, "owner", None) not in (None, me) for lock in held)
