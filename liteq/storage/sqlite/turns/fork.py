"""Forks. SQLite's idea of the locks that this process holds is copied into the child; the locks themselves are not.

A child that used such a copy would believe that it holds locks which the kernel never gave it, and another process
could truncate the shared memory under it. So before a fork every connection of every driver is closed, which takes
the copy's reason away; both sides open anew on their next use. A transaction that is still open then cannot be closed:
the child lets go of it without closing it, and cannot use that file for the rest of its life.

Parts of liteq are loaded at their first use, often by a thread. A child that is forked meanwhile would wait for ever
for the module: so a fork waits for those imports, whoever forks.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from typing import Protocol

from liteq.exceptions import StorageError
from liteq.storage.sqlite.turns import gate
from liteq.utils import imports

OURS = "liteq"  # how the names of liteq's modules and of its extensions begin
SPARE = 100  # names of files whose drivers have gone, before they are cleared away
IMPORT_S = 5.0  # that a fork waits for the import of one of them

__all__ = ["Forkable", "check", "forbid", "register", "registered", "registered_at"]


class Forkable(Protocol):
    """A driver, as fork sees it."""

    def before_fork(self) -> None:
        """Wait for open transactions, but for the forking thread's own, and close everything; then stay still."""

    def after_fork(self, *, child: bool) -> None:
        """Go on."""


_drivers: weakref.WeakSet[Forkable] = weakref.WeakSet()
_at: dict[str, weakref.WeakSet[Forkable]] = {}  # the same, by the file that each is on
_registering = threading.Lock()
_forbidden: dict[str, int] = {}  # files that this process must not touch; the parent's PID
_still: list[Forkable] = []  # the drivers that `_before` has stopped


def register(driver: Forkable, path: str = "") -> None:
    """Have `driver`, on the file `path` if it is on one, told of each fork of this process, for as long as it lives."""
    with _registering:
        _drivers.add(driver)
        if path:
            _at.setdefault(path, weakref.WeakSet()).add(driver)
        if len(_at) > 2 * len(_drivers) + SPARE:
            for empty in [path for path, drivers in _at.items() if not drivers]:
                del _at[empty]


def registered() -> Iterable[Forkable]:
    """The drivers of this process."""
    with _registering:  # a set that grows cannot be gone through
        return list(_drivers)


def registered_at(path: str) -> Iterable[Forkable]:
    """The drivers of this process on the file `path`: a worker of a thousand files asks as each of them wakes."""
    with _registering:
        return list(_at.get(path, ()))


def forbid(path: str, parent: int) -> None:
    """This process was forked from `parent` while a transaction on `path` was open there."""
    _forbidden[path] = parent


def check(path: str) -> None:
    """Raises StorageError where this process cannot use `path` any more."""
    parent = _forbidden.get(path)
    if parent is not None:
        raise StorageError(
            f"{path} was open in process {parent} when it forked this one (PID {os.getpid()}), inside a transaction "
            "or past Python's fork hooks: this process cannot use it. Fork outside transactions; in a server that "
            "forks in C, close the app's storage before it forks"
        )


def _before() -> None:
    imports.settle(IMPORT_S, OURS)  # first: such an import may need a transaction
    for driver in sorted(registered(), key=id):  # one order for all threads
        driver.before_fork()
        _still.append(driver)
    gate.before_fork()


def _after(child: bool) -> None:
    global _registering
    if child:  # a thread that is not here may hold it
        _registering = threading.Lock()
    gate.after_fork(child=child)
    while _still:
        _still.pop().after_fork(child=child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
    )
