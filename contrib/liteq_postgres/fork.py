"""Forks: a child opens connections of its own, and never says a word on its parent's."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "register"]


class Forkable(Protocol):
    """A driver, as fork sees it."""

    def abandon(self) -> None:
        """In a child: let go of all that the parent had open."""


_drivers: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(driver: Forkable) -> None:
    """Have `driver` told of each fork of this process, for as long as it lives."""
    _drivers.add(driver)


def _in_child() -> None:
    for driver in list(_drivers):
        driver.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
