"""The thread pool: for tasks that wait for others (I/O), and for platforms without fork."""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from liteq.message import Lease, Outcome, Ran
from liteq.worker.pool.base import Estimates, Loop, RunningLease, ended_by, given_back, note
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.page import StepNow

__all__ = ["ThreadPool"]

logger = logging.getLogger("liteq.worker")


class ThreadPool:
    """`size` threads fed from one queue. See `Pool` for what the methods promise.

    A thread cannot be stopped from outside: hard limits are not enforced, and `kill` leaves it running until the
    process ends; its outcome is then of no use, the lease is over.
    """

    name = "threads"

    def __init__(self, executor: Executor, size: int) -> None:
        self.size = size
        self.timings: dict[int, Ran] = {}
        self.exits: Counter[str] = Counter()
        self._executor = executor
        self._estimates = Estimates()
        self._inbox: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._leases: dict[int, Lease] = {}
        self._since: dict[int, float] = {}  # monotonic, of the leases that run
        self._outcomes: list[tuple[Lease, Outcome]] = []
        self._threads: list[threading.Thread] = []
        self._killed = False
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)

    def start(self, loop: Loop) -> None:
        self._loop = loop
        loop.watch(self._ours.fileno(), self._clear)
        self._spawn()

    def _spawn(self) -> None:
        while len(self._threads) < self.size:
            thread = threading.Thread(target=self._work, name=f"liteq-{len(self._threads) + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _clear(self) -> None:
        try:
            while self._ours.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _work(self) -> None:
        self._executor.adopt()
        while (lease := self._inbox.get()) is not None:
            self._since[lease.token] = time.monotonic()
            outcome, runtime_s = self._run(lease)
            self._since.pop(lease.token, None)
            with self._lock:
                self._estimates.add(lease.task, runtime_s)
                if self._leases.pop(lease.token, None) is None:
                    continue  # abandoned
                began_ms = self._executor.app.clock.now_ms() - int(runtime_s * 1000)
                note(self.timings, lease, outcome, (began_ms, runtime_s))
                self._outcomes.append((lease, outcome))
                first = len(self._outcomes) == 1
            if first:
                try:
                    self._theirs.send(b"\0")
                except (BlockingIOError, OSError):
                    pass  # it is awake, or gone
            self._executor.end_worker()

    def _run(self, lease: Lease) -> tuple[Outcome, float]:
        try:
            return self._executor.run(lease)
        except BaseException as exc:
            # A BaseException that is no Exception would end the thread, whose lease would then be kept for ever.
            logger.exception("%s[%s] raised an exception that would have ended its process", lease.task, lease.id)
            return ended_by(self._executor.app, lease, exc, what="thread"), 0.0

    def capacity(self) -> int:
        with self._lock:
            held = len(self._leases)
            ahead = self._estimates.window(0.0, 0, 0.0) if self._estimates.typical_s < 1e-3 else 1
        return max(0, self.size * ahead - held)

    def submit(self, leases: list[Lease]) -> None:
        with self._lock:
            self._leases.update((lease.token, lease) for lease in leases)
        for lease in leases:
            self._inbox.put(lease)

    def collect(self) -> list[tuple[Lease, Outcome]]:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def leases(self) -> list[Lease]:
        with self._lock:
            return [*self._leases.values(), *(lease for lease, _ in self._outcomes)]

    def tend(self, now: float) -> float | None:
        return None

    def take_back(self) -> list[Lease]:
        taken = []
        try:
            while True:
                lease = self._inbox.get_nowait()
                if lease is not None:
                    taken.append(lease)
        except queue.Empty:
            pass
        with self._lock:
            return [lease for lease in taken if self._leases.pop(lease.token, None) is not None]

    def abandon(self, leases: Sequence[Lease]) -> None:
        with self._lock:
            for lease in leases:
                self._leases.pop(lease.token, None)

    def running(self) -> list[RunningLease]:
        with self._lock:
            since = dict(self._since)
            return [
                RunningLease(lease, since[token], os.getpid())
                for token, lease in self._leases.items()
                if token in since
            ]

    def leave_runs(self) -> None:
        self._executor.runs.leave()

    def steps(self) -> list[StepNow]:
        return self._executor.runs.steps()

    def end_overdue(self, now: float) -> None:
        self._executor.runs.tell_overdue(now, self.name)

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        taken = self.take_back()
        self.submit([lease for lease in taken if lease.token not in tokens])
        return [lease for lease in taken if lease.token in tokens]

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        return False

    def renew(self) -> None:
        self._executor.forget_limits()

    def resize(self, size: int) -> None:
        for _ in range(self.size - size):
            self._inbox.put(None)
        self.size = size
        self._threads = [thread for thread in self._threads if thread.is_alive()][:size]
        self._spawn()

    def pids(self) -> list[int]:
        return [os.getpid()]

    def kill(self) -> None:
        self._killed = True
        with self._lock:
            for lease in self._leases.values():
                self._outcomes.append((lease, given_back(self._executor.app, lease)))
            self._leases.clear()

    def stop(self) -> None:
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join(timeout=0.0 if self._killed else 5.0)
        self._loop.unwatch(self._ours.fileno())
        self._ours.close()
        self._theirs.close()
