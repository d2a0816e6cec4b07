"""The results that one depends on: its waiters get their failures."""

from __future__ import annotations

from typing import Any

from liteq import states

__all__ = ["ParentWatch", "raise_of_parents"]

EACH_S = 1.0


def raise_of_parents(parent: Any) -> None:
    """Raise what `parent` and its own parents failed with, the earliest first; nothing when none has."""
    leaves = _leaves_above(parent)
    stored = [leaf for leaf in leaves if leaf.app is not None and leaf._record is None]
    if stored:
        records = stored[0].app.storage.reader.find_finished([leaf.id for leaf in stored])
        for leaf in stored:
            leaf._record = records.get(leaf.id)
    for leaf in leaves:
        if (leaf.app is None or leaf._record is not None) and leaf.state in states.PROPAGATE_STATES:
            leaf.maybe_throw()


def _leaves_above(parent: Any) -> list[Any]:
    """The results of tasks in the line of parents that ends at `parent`, the first to run first."""
    line = []
    while parent is not None:
        line.append(parent)
        parent = parent.parent
    return [
        leaf for result in reversed(line) for leaf in (result._leaves() if hasattr(result, "_leaves") else [result])
    ]


class ParentWatch:
    """Watches the parents of an awaited result, at most once a second: there may be thousands of them."""

    def __init__(self, parent: Any, clock: Any) -> None:
        self._parent = parent
        self._clock = clock
        self._next_s = clock.monotonic()

    def __call__(self) -> None:
        """Raises what a parent failed with."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_s:
            raise_of_parents(self._parent)
            self._next_s = now_s + EACH_S
