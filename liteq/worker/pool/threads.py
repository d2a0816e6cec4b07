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

STOP_S = 5.0  # that threads which still run are waited for, all together


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
        self._threads: set[threading.Thread] = set()  # each leaves it by itself
        self._started = 0
        self._killed = self._stopped = False
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)

    def start(self, loop: Loop) -> None:
        self._loop = loop
        loop.watch(self._ours.fileno(), self._clear)
        self._spawn()

    def _spawn(self) -> None:
        with self._lock:
            new = range(self._started, self._started + self.size - len(self._threads))
            made = [threading.Thread(target=self._work, name=f"liteq-{n + 1}", daemon=True) for n in new]
            self._started += len(made)
            self._threads.update(made)
        for thread in made:
            thread.start()

    def _leaves(self) -> bool:
        """Whether this thread is to end: the pool does, or has one too many."""
        if len(self._threads) <= self.size and not self._stopped:  # asked before each task: without the lock
            return False
        with self._lock:
            leaves = self._stopped or len(self._threads) > self.size
            if leaves:
                self._threads.discard(threading.current_thread())
            return leaves

    def _clear(self) -> None:
        try:
            while self._ours.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _work(self) -> None:
        self._executor.adopt()
        while not self._leaves():
            lease = self._inbox.get()
            if lease is None or lease.token not in self._leases:  # to see whether it leaves; or it was lost meanwhile
                continue
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
        taken, wakes = [], 0
        try:
            while True:
                lease = self._inbox.get_nowait()
                if lease is None:
                    wakes += 1
                else:
                    taken.append(lease)
        except queue.Empty:
            self._wake(wakes)
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
        with self._lock:
            self.size = size
            surplus = len(self._threads) - size
        self._wake(surplus)
        self._spawn()

    def _wake(self, n: int) -> None:
        """Have `n` threads that wait for a lease see whether they are to leave."""
        for _ in range(n):
            self._inbox.put(None)

    def pids(self) -> list[int]:
        return [os.getpid()]

    def kill(self) -> None:
        self._killed = True
        with self._lock:
            for lease in self._leases.values():
                self._outcomes.append((lease, given_back(self._executor.app, lease)))
            self._leases.clear()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            threads = list(self._threads)
        self._wake(len(threads))
        end = time.monotonic() + (0.0 if self._killed else STOP_S)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._loop.unwatch(self._ours.fileno())
        self._ours.close()
        self._theirs.close()
