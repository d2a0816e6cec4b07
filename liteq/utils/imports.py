"""Imports by other threads: a process that is forked meanwhile has their locks, and nobody there to let them go."""

from __future__ import annotations

import threading
import time
from importlib import _bootstrap

__all__ = ["settle"]

PAUSE_S = 0.005


def settle(within_s: float) -> bool:
    """Wait until no other thread imports anything, at most `within_s` seconds; whether that came."""
    end = time.monotonic() + within_s
    while _others_import():
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_S)
    return True


def _others_import() -> bool:
    # The import system keeps a lock a module; there is no public way to ask for them.
    me = threading.get_ident()
    held = [ref() for ref in list(getattr(_bootstrap, "_module_locks", {}).values())]
    return any(getattr(lock, "owner", None) not in (None, me) for lock in held)
