"""A child of the asyncio pool as its parent sees it."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from liteq.message import Lease, Outcome
from liteq.worker.pool.aio.child import RETURN
from liteq.worker.pool.aio.notes import Now, now_in
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.handle import Handle

__all__ = ["AsyncHandle", "Deadline"]

Deadline = tuple[float, int, float | None]  # when the child is ended, for which token, its hard limit in seconds


class AsyncHandle(Handle):
    """The leases that the child has not reported. Those that it has not started are the last of them."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.given_at: dict[int, float] = {}
        self.waits_since = 0.0  # its first lease that it may begin and has not
        self.endings: dict[int, Callable[[Lease], Outcome]] = {}  # of tasks that are terminated
        self.deadlines: list[Deadline] = []  # a heap; those of leases that have ended are still there
        self.seen: tuple[float, Now] | None = None  # when a deadline was over, and what it did then
        self.guilty: tuple[int, str] | None = None  # the token because of which it is ended, and why

    def give(self, leases: list[Lease], expected_s: Callable[[str], float]) -> None:
        """Hand over `leases`, and the permits to start them."""
        now = time.monotonic()
        if not self.unstarted():
            self.waits_since = now
        self.given_at.update((lease.token, now) for lease in leases)
        super().give(leases, expected_s)

    def forget(self, token: int) -> Lease | None:
        """Strike a lease off; None when the child does not have it."""
        self.given_at.pop(token, None)
        self.endings.pop(token, None)
        return super().forget(token)

    def tell(self, kind: int, token: int = 0) -> None:
        """Ask something of the child: see `AsyncChild`."""
        self._outbox += wire.frame([(kind, token)])
        self.flush()

    def call_back(self, tokens: Collection[int] = ()) -> None:
        """Have the child give back what waits for one of its threads, or of it these leases: it comes as released."""
        if self.leases and not self.isolated:
            self._outbox += wire.frame([(RETURN, token) for token in tokens or (0,)])
            self.flush()

    def nudge(self) -> None:
        """Do nothing: it holds no report back."""

    def started(self) -> list[Lease]:
        """The leases that it has started, the first one first."""
        n = len(self.leases) - self.unstarted()
        return [lease for lease, _ in list(self.leases.values())[:n]]

    def now(self) -> Now:
        """Its notes of the moment, or of its death."""
        return now_in(self.page)

    def end_at(self, token: int, at: float, hard_limit_s: float | None) -> None:
        """Have the child ended at `at` (monotonic) if it still has this lease then."""
        heapq.heappush(self.deadlines, (at, token, hard_limit_s))

    def deadline(self) -> Deadline | None:
        """The next one of a lease that it still has."""
        while self.deadlines and self.deadlines[0][1] not in self.leases:
            heapq.heappop(self.deadlines)
        return self.deadlines[0] if self.deadlines else None

    def blamed(self, started: Sequence[Lease]) -> list[Lease]:
        """Those of the leases that it had `started` to which its end is due.

        That for which it was ended; else those whose code it executed. Where it executed none, and had one lease, that.
        """
        if self.guilty is not None:
            tokens = {self.guilty[0]}
        elif self.overdue is not None:
            tokens = {self.overdue.token}
        else:
            happened = self.now()
            tokens = {happened.in_step, *happened.in_threads}
        found = [lease for lease in started if lease.token in tokens]
        return list(started) if not found and len(started) == 1 and self.guilty is None else found
