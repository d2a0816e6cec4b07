"""One pool for the leases of several files.

Each file's consumer has a `Share`, which is a pool to it: its leases, its outcomes, its part of the room. Beneath all
shares is the worker's pool. Fencing tokens are told apart by a claim's moment, so those of two files may be equal, if
rarely: a lease whose token another file's lease has in the pool goes back to its queue, and is claimed under another.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from liteq.message import Flag, Lease, Outcome, Ran, Release
from liteq.worker.chores.autoscale import Autoscaler
from liteq.worker.pool import Pool, width
from liteq.worker.pool.base import Loop, RunningLease
from liteq.worker.pool.filed import filed
from liteq.worker.pool.page import StepNow

__all__ = ["Share", "Sharing"]

logger = logging.getLogger("liteq.worker")


class Sharing:
    """The pool that is shared, and which of its leases belongs to which share."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.autoscaler: Autoscaler | None = None  # of the pool
        self.among = 1  # shares that want room in this turn of the loop, and have not had theirs
        self.killed = False
        self.submitted = False  # since the loop has looked
        self._owners: dict[int, Share] = {}  # by token

    def room(self) -> int:
        """The room for a share whose turn it is: an equal part, and at least one while there is any."""
        room = self.pool.capacity()
        return room if self.among <= 1 or room <= 0 else max(1, room // self.among)

    def submit(self, share: Share, leases: list[Lease]) -> None:
        """Give the pool the leases of `share`; one whose token is another file's comes back at once."""
        new = []
        for lease in leases:
            if self._owners.setdefault(lease.token, share) is share and lease.token not in share.held:
                share.held[lease.token] = lease
                new.append(filed(lease, share.url))
            else:
                # A batch of which no more is said would be handed on again at once, under the same token.
                is_batch = lease.flags & Flag.BATCH
                share.returned.append((lease, Release(pause_ms=0, options=lease.options) if is_batch else Release()))
        if new:
            self.submitted = True
            self.pool.submit(new)

    def gather(self) -> set[Share]:
        """Hand out what has come back; the shares that got something."""
        got: set[Share] = set()
        for lease, outcome in self.pool.collect():
            share, ran = self._owners.get(lease.token), self.pool.timings.pop(lease.token, None)
            own = None if share is None else self.forget(share, lease.token)
            if share is None or own is None:
                continue  # abandoned
            if ran is not None:
                share.timings[lease.token] = ran
            share.returned.append((own, outcome))
            got.add(share)
        return got

    def forget(self, share: Share, token: int) -> Lease | None:
        """Strike a lease of `share` off; None where it has none of this token."""
        if (lease := share.held.pop(token, None)) is not None:
            del self._owners[token]
        return lease

    def kill(self) -> None:
        """Stop the pool at once, for all shares."""
        if not self.killed:
            self.killed = True
            self.pool.kill()


class Share:
    """The pool as the consumer of one file has it. See `Pool` for what the methods promise.

    What is asked of the processes themselves (a size, other tasks' limits) is asked for all files. `inside()` is where
    the file counts, for code of the user's that is called here; `touch()` has the file served soon.
    """

    def __init__(
        self,
        sharing: Sharing,
        url: str,
        inside: Callable[[], AbstractContextManager[None]],
        touch: Callable[[], None],
    ) -> None:
        self.url = url
        self.touch = touch
        self.held: dict[int, Lease] = {}
        self.returned: list[tuple[Lease, Outcome]] = []
        self.timings: dict[int, Ran] = {}
        self.name, self.width = sharing.pool.name, width(sharing.pool)
        self.exits: Counter[str] = (
            sharing.pool.exits
        )  # of the processes, which are no file's: the first one counts them
        self._inside = inside
        self._sharing = sharing
        self._pool = sharing.pool

    @property
    def size(self) -> int:
        return self._pool.size

    @size.setter
    def size(self, _size: int) -> None:
        raise AttributeError("a share has the size of the pool beneath: use resize()")

    def start(self, loop: Loop) -> None: ...

    def capacity(self) -> int:
        room = self._sharing.room()
        # Ahead of the executors one place stays free, for the first message of a file that has just woken.
        return room - 1 if len(self.held) + room > self.size * self.width and room > 0 else room

    def submit(self, leases: list[Lease]) -> None:
        self._sharing.submit(self, leases)

    def collect(self) -> list[tuple[Lease, Outcome]]:
        outcomes, self.returned = self.returned, []
        return outcomes

    def leases(self) -> list[Lease]:
        return [*self.held.values(), *(lease for lease, _ in self.returned)]

    def tend(self, now: float) -> float | None:
        return now if self.returned else None

    def take_back(self) -> list[Lease]:
        return self.withdraw(set(self.held))

    def abandon(self, leases: Sequence[Lease]) -> None:
        mine = [lease for lease in leases if lease.token in self.held]
        for lease in mine:
            self._sharing.forget(self, lease.token)
        if mine:
            self._pool.abandon(mine)

    def running(self) -> list[RunningLease]:
        found = [(self.held.get(one.lease.token), one) for one in self._pool.running()]
        return [RunningLease(lease, one.since, one.pid) for lease, one in found if lease is not None]

    def leave_runs(self) -> None:
        self._pool.leave_runs()

    def steps(self) -> list[StepNow]:
        return [step for step in self._pool.steps() if step.token in self.held]

    def end_overdue(self, now: float) -> None:
        self._pool.end_overdue(now)

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        mine = tokens & self.held.keys()
        if not mine:
            return []
        taken = [self._sharing.forget(self, lease.token) for lease in self._pool.withdraw(mine)]
        return [lease for lease in taken if lease is not None]

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        own = {token: self.held[token] for token in tokens & self.held.keys()}

        def ended(lease: Lease) -> Outcome:
            with self._inside():
                return outcome(own[lease.token])

        return self._pool.terminate(set(own), signum, ended)

    def renew(self) -> None:
        self._pool.renew()

    def resize(self, size: int) -> None:
        self._pool.resize(size)

    def pids(self) -> list[int]:
        return self._pool.pids()

    def kill(self) -> None:
        self._sharing.kill()
        self._sharing.gather()

    def stop(self) -> None: ...
