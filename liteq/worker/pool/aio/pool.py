"""The asyncio pool: each child runs many leases at once, so that its death, and a loop that stands, is one's fault.

A child is ended where a task outlives its hard limit by GRACE_S: it does not let itself be cancelled, or it holds the
loop up, and nothing reaches it. What holds the loop up is the task that takes a step, whosever limit was over. It alone
counts the end of the child; the others go back, and count nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from signal import SIGUSR1
from typing import cast

from liteq.context import App
from liteq.exceptions import WorkerLostError
from liteq.message import Flag, Lease, Outcome, Release
from liteq.worker.pool.aio.child import INTERRUPT, STOP
from liteq.worker.pool.aio.handle import AsyncHandle
from liteq.worker.pool.base import LONG_S, RunningLease, crashed
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.child import ChildSettings
from liteq.worker.pool.prefork.handle import Handle
from liteq.worker.pool.prefork.pool import PreforkPool
from liteq.worker.pool.runs import GRACE_S

__all__ = ["AsyncioPool"]

logger = logging.getLogger("liteq.worker")

LOOK_S = 0.3  # between two looks at a child: a loop that has taken no step meanwhile stands still
AHEAD_S = 50e-3  # of work given in advance, by when it begins: a turn with a thousand outcomes takes 30 ms
PUT_OFF_MS = 500  # an isolated lease for which there is no place
MOST_UNREAD = 4_000  # permits in a child's pipe: one that is full (8,192 of them) would hold up the worker
RUN = Flag.RUN


class AsyncioPool(PreforkPool):
    """`size` children with `coroutines` places each. See `Pool` for what the methods promise."""

    name = "asyncio"

    def __init__(self, app: App, size: int, settings: ChildSettings, coroutines: int) -> None:
        super().__init__(app, size, replace(settings, coroutines=coroutines))
        self._starter.handle = AsyncHandle
        self.width = coroutines

    @property
    def _handles(self) -> list[AsyncHandle]:
        return cast("list[AsyncHandle]", self._children)

    # -- leases in, outcomes out -------------------------------------------------------------------------------------

    def submit(self, leases: list[Lease]) -> None:
        """As the prefork pool; but an isolated lease without a place goes back at once: coroutines wait for no such."""
        super().submit(leases)
        if self._isolation is not None:
            waiting, self._again = self._isolation.put_off(self._again)
            self._outcomes += [(lease, Release(pause_ms=PUT_OFF_MS, options=lease.options)) for lease in waiting]

    def _window(self, child: Handle) -> int:
        """How many leases it may be given: for its free places, and a few milliseconds' work in advance."""
        now = time.monotonic()
        if child.retired or child.benched or now < child.rests_until:
            return 0
        ahead = 0
        if not child.leases or now - child.progress_at <= LONG_S:
            ahead = min(int(self.width * AHEAD_S / max(self._estimates.typical_s, 1e-6)), self.width)
        room = max(0, self.width + ahead - len(child.leases))
        return room if self.width + ahead <= MOST_UNREAD else min(room, max(0, MOST_UNREAD - child.unstarted()))

    def _take_reports(self, child: Handle) -> None:
        child = cast("AsyncHandle", child)
        now_ms = self._app.clock.now_ms()
        for report in child.receive():
            token, seconds, kind = report[0], report[1], report[2]
            if kind == wire.RETIRING:
                super()._retire(child)  # all that it has begun is among its tasks, also what waits for a thread
            elif kind == wire.STARTED:
                child.end_at(token, time.monotonic() + seconds + (report[3] if len(report) > 3 else 0.0), seconds)
            elif kind == wire.LEFT_BEHIND:
                child.left_behind = report[3]
            else:
                self._take_end(child, report, now_ms, child.endings.get(token) if kind == wire.STOPPED else None)

    # -- as time passes ----------------------------------------------------------------------------------------------

    def _enforce_hard_limit(self, child: Handle, now: float) -> float | None:
        """End a child that has a lease for too long; when to look again."""
        child = cast("AsyncHandle", child)
        if child.killed or (deadline := child.deadline()) is None:
            return None
        at, token, seconds = deadline
        if now < at:
            child.seen = None
            return at
        happens = child.now()
        if child.seen is None and token not in happens.in_threads:
            child.seen = (now, happens)
        if child.seen is not None and now < child.seen[0] + LOOK_S:
            return child.seen[0] + LOOK_S
        stands = child.seen is not None and (happens.in_step, happens.steps) == child.seen[1][:2]
        self._end(child, token, seconds, happens.in_step if stands else 0)
        return None

    def _end(self, child: AsyncHandle, token: int, seconds: float | None, in_step: int) -> None:
        """Kill a child for the lease `token`, whose time is over; or for the one in whose step its loop stands."""
        lease = child.leases[token][0]
        guilty = in_step if in_step in child.leases else token
        if guilty != token:
            other = child.leases[guilty][0]
            child.guilty = (guilty, f"{other.task}[{other.id}] held up the event loop of process {child.pid}")
        elif seconds is None:  # terminated
            child.guilty = (guilty, "it was terminated")
            child.terminated = (guilty, child.endings[guilty])
        else:
            child.guilty = (guilty, "its hard time limit is exceeded")
            child.hard_limit = (guilty, time.monotonic(), seconds)
        text = "Task %s[%s] given up: its time is over (hard limit: %s s) and it does not end; killing process %s: %s"
        named = {"task_name": lease.task, "task_id": lease.id}
        logger.error(text, lease.task, lease.id, seconds, child.pid, child.guilty[1], extra=named)
        child.kill()

    def _rebalance(self, child: Handle, now: float) -> float | None:
        """Take back what a child has not started for a while; one whose loop takes nothing is left alone a moment."""
        child = cast("AsyncHandle", child)
        unstarted = child.unstarted() if child.leases else 0
        if not unstarted:
            return child.rests_until if child.rests_until > now else None
        since = max(child.waits_since, child.progress_at)
        if now < since + LONG_S:
            return since + LONG_S
        if len(child.leases) - unstarted < self.width and not child.retired:
            child.let_rest(len(child.leases), now)
        taken = child.take_back()
        if any(other is not child and self._window(other) for other in self._children):
            self._again += taken
        else:
            self._outcomes += [(lease, Release()) for lease in taken]
        return child.rests_until if child.rests_until > now else None

    def take_back(self) -> list[Lease]:
        for child in self._handles:
            child.call_back()
        return super().take_back()

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        """As the prefork pool; what waits for a thread comes back a moment later, as released."""
        taken = super().withdraw(tokens)
        for child in self._handles:
            if rest := tokens.intersection(child.leases):
                child.call_back(rest)
        return taken

    def _retire(self, child: Handle) -> None:
        cast("AsyncHandle", child).call_back()
        super()._retire(child)

    def abandon(self, leases: Sequence[Lease]) -> None:
        """Cancel the coroutines of leases that were lost; a thread goes on, and its outcome is of no use."""
        tokens = {lease.token for lease in leases}
        self._again = [lease for lease in self._again if lease.token not in tokens]
        for child in self._handles:
            if not tokens.isdisjoint(child.leases):
                self._again += [lease for lease in child.take_back() if lease.token not in tokens]
            lost = tokens.intersection(child.leases)
            if lost and child.isolated:
                child.kill()
                continue
            for token in lost:
                child.tell(STOP, token)
                child.forget(token)

    def running(self) -> list[RunningLease]:
        return [
            RunningLease(lease, child.given_at.get(lease.token, child.born_at), child.pid)
            for child in self._handles
            for lease in child.started()
        ]

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        """Cancel coroutines, or by SIGUSR1 raise SoftTimeLimitExceeded in them; end the child of one in a thread.

        A run of a workflow is left at its next step: False.
        """
        found = True
        for child in self._handles:
            started = {lease.token: lease for lease in child.started() if lease.token in tokens}
            in_threads = child.now().in_threads if started else frozenset()
            for token, lease in started.items():
                if child.isolated:
                    child.terminate(token, signum, outcome)
                elif lease.flags & RUN:
                    found = False
                elif signum == SIGUSR1:
                    child.tell(INTERRUPT, token)
                else:
                    child.endings[token] = outcome
                    child.tell(STOP, token)
                    child.end_at(token, time.monotonic() + (0.0 if token in in_threads else GRACE_S), None)
        return found

    # -- the end of a child ------------------------------------------------------------------------------------------

    def _fate(self, child: Handle, lease: Lease, status: int | None) -> Outcome:
        child = cast("AsyncHandle", child)
        is_in_the_way = child.guilty is not None and child.terminated is None and child.hard_limit is None
        if is_in_the_way and not self._stopping and not lease.flags & RUN:
            assert child.guilty is not None, "see above"
            return crashed(self._app, lease, WorkerLostError(child.guilty[1], status), self._settings.hostname)
        return super()._fate(child, lease, status)
