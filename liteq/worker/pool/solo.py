"""The solo pool: leases are executed by the loop itself, one after the other. For debugging, and for tests."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from liteq.execution.together import Each
from liteq.message import Lease, Limited, Outcome, Ran
from liteq.worker.pool.base import BUDGET_S, Estimates, Loop, RunningLease, note
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.leftovers import Leftovers
from liteq.worker.pool.page import StepNow

__all__ = ["SoloPool"]

PAUSING = (Limited, Each)  # behind these (a batch may have met a limit too), what waits may have the key that is paused


class SoloPool:
    """One executor: this thread. See `Pool` for what the methods promise.

    While a task runs the loop does not, so a helper thread of the worker keeps the leases alive.
    """

    name = "solo"
    size = 1

    def __init__(self, executor: Executor, ending: Callable[[], object] | None = None) -> None:
        """`ending`: says whether the worker was told to end; its loop cannot tell a task that it executes itself."""
        if ending is not None:
            executor.runs.ask(ending)
        self.timings: dict[int, Ran] = {}
        self.exits: Counter[str] = Counter()
        self._executor = executor
        self._leftovers = Leftovers()
        self._estimates = Estimates()
        self._waiting: deque[Lease] = deque()
        self._running: Lease | None = None
        self._outcomes: list[tuple[Lease, Outcome]] = []

    def start(self, loop: Loop) -> None: ...

    def capacity(self) -> int:
        held = len(self._waiting)
        return self._estimates.window(held * self._estimates.typical_s, held, 0.0)

    def submit(self, leases: list[Lease]) -> None:
        self._waiting.extend(leases)

    def tend(self, now: float) -> float | None:
        """Execute waiting leases for a few milliseconds; the loop settles in between."""
        until = now + BUDGET_S
        while self._waiting:
            self._running = lease = self._waiting.popleft()
            outcome, runtime_s = self._executor.run(lease)
            self._outcomes.append((lease, outcome))
            self._running = None
            self._leftovers.look(lease)
            self._executor.end_worker()
            began_ms = self._executor.app.clock.now_ms() - int(runtime_s * 1000)
            note(self.timings, lease, outcome, (began_ms, runtime_s))
            self._estimates.add(lease.task, runtime_s)
            if time.monotonic() >= until or type(outcome) in PAUSING:
                break
        return 0.0 if self._waiting or self._outcomes else None

    def collect(self) -> list[tuple[Lease, Outcome]]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def leases(self) -> list[Lease]:
        running = self._running
        return [*([running] if running else []), *self._waiting, *(lease for lease, _ in self._outcomes)]

    def take_back(self) -> list[Lease]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def abandon(self, leases: Sequence[Lease]) -> None:
        lost = {lease.token for lease in leases}
        self._waiting = deque(lease for lease in self._waiting if lease.token not in lost)

    def running(self) -> list[RunningLease]:
        return []  # the loop cannot ask while it runs a task

    def leave_runs(self) -> None:
        self._executor.runs.leave()

    def steps(self) -> list[StepNow]:
        return self._executor.runs.steps()

    def end_overdue(self, now: float) -> None:
        self._executor.runs.tell_overdue(now, self.name)

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        taken = self.take_back()
        self._waiting.extend(lease for lease in taken if lease.token not in tokens)
        return [lease for lease in taken if lease.token in tokens]

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        return False

    def renew(self) -> None:
        self._executor.forget_limits()

    def resize(self, size: int) -> None: ...

    def pids(self) -> list[int]:
        return [os.getpid()]

    def kill(self) -> None: ...

    def stop(self) -> None: ...
