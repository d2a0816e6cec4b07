"""Forks: a child opens connections of its own, and never says a word on its parent's.

A connection that another thread is making is nobody's yet, and its socket would stay open in the child. So a fork waits
for it; not for long, as a server may not answer.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Final, Protocol

__all__ = ["Forkable", "making", "register"]

WAIT_S: Final = 1.0


class Forkable(Protocol):
    """A driver, as fork sees it."""

    def abandon(self) -> None:
        """In a child: let go of all that the parent had open."""


_drivers: weakref.WeakSet[Forkable] = weakref.WeakSet()
_changed = threading.Condition()
_making: set[int] = set()  # threads that make a connection
_forks = False  # a fork waits for them: the next ones wait for that


def register(driver: Forkable) -> None:
    """Have `driver` told of each fork of this process, for as long as it lives."""
    _drivers.add(driver)


@contextmanager
def making() -> Iterator[None]:
    """Make a connection, and note it where `abandon` finds it."""
    me = get_ident()
    with _changed:
        _changed.wait_for(lambda: not _forks)
        _making.add(me)
    try:
        yield
    finally:
        with _changed:
            _making.discard(me)
            _changed.notify_all()


def _before() -> None:
    global _forks
    _changed.acquire()
    _forks = True
    _changed.wait_for(lambda: _making <= {get_ident()}, WAIT_S)


def _in_parent() -> None:
    global _forks
    _forks = False
    _changed.notify_all()
    _changed.release()


def _in_child() -> None:
    global _changed, _forks
    _changed, _forks = threading.Condition(), False
    _making.clear()
    for driver in list(_drivers):
        driver.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
