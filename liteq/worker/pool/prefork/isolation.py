"""Tasks with `isolate=True`: each of their leases gets a process of its own, which ends after it.

It runs in the place of a child that runs one lease at a time, so that no more tasks run at once than the pool has
executors: as many idle children as there are isolated ones sit on the bench. A lease for which there is no place waits
a moment, and nothing more is claimed meanwhile; then it goes back to the queue, for another worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from liteq.context import App
from liteq.message import Lease
from liteq.worker.pool.base import LONG_S
from liteq.worker.pool.prefork.handle import Handle

__all__ = ["Isolation", "bench", "places"]


class Isolation:
    """Which leases are isolated, and which of them wait for a place."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._since: dict[int, float] = {}  # by token, of those that wait

    @classmethod
    def of(cls, app: App) -> Isolation | None:
        """The isolation of the tasks of `app`; None where no task asks for it."""
        names = frozenset(name for name, task in app.tasks.items() if getattr(task, "isolate", False))
        return cls(names) if names else None

    @property
    def waits(self) -> bool:
        """Whether a lease waits for a place."""
        return bool(self._since)

    def split(self, leases: Iterable[Lease], start: Callable[[Lease], bool]) -> tuple[list[Lease], list[Lease]]:
        """The leases that any child may have, and the isolated ones for which `start` found no place."""
        plain: list[Lease] = []
        held: list[Lease] = []
        now = time.monotonic()
        for lease in leases:
            if lease.task not in self._names:
                plain.append(lease)
            elif held or not start(lease):
                held.append(lease)
        self._since = {lease.token: self._since.get(lease.token, now) for lease in held}
        return plain, held

    def part(self, leases: Sequence[Lease]) -> tuple[list[Lease], list[Lease]]:
        """The leases that wait here no longer, as another worker may have a place, and those that do."""
        until = time.monotonic() - LONG_S
        tired = [lease for lease in leases if self._since.get(lease.token, 0.0) <= until]
        return tired, [lease for lease in leases if self._since.get(lease.token, 0.0) > until]

    def put_off(self, leases: Sequence[Lease]) -> tuple[list[Lease], list[Lease]]:
        """The leases that wait for a place, and the others; those of the first list wait here no longer."""
        waiting = [lease for lease in leases if lease.token in self._since]
        others = [lease for lease in leases if lease.token not in self._since]
        self._since.clear()
        return waiting, others


def places(children: Sequence[Handle], size: int, width: int) -> int:
    """How many more isolated runs may begin in a pool of `size`, whose children run `width` leases at once each.

    Where that is more than one, there are `size` of them beside what the children run.
    """
    busy = sum(child.isolated or (width == 1 and bool(child.leases) and not child.retired) for child in children)
    return max(0, size - busy)


def bench(children: Sequence[Handle], size: int, width: int) -> None:
    """Let as many idle children sit out as isolated ones run in their places."""
    left = places(children, size, width)
    for child in children:
        if not (child.leases or child.retired):
            child.benched = width == 1 and left <= 0
            left -= 1
