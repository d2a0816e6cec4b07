"""The child of a prefork worker: it owns the user's code, and nothing of the queue.

Leases come in frames over a socket; the right to start each comes over a pipe, as its fencing token. A lease whose
token is still in the pipe is not started, and the parent may take it back by reading the pipe itself.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections import deque
from functools import partial
from types import FrameType
from typing import Any, Protocol

from liteq.context import App
from liteq.execution.lines import LINES
from liteq.message import Flag, Lease, Outcome
from liteq.utils.records import dataclass
from liteq.worker.hooks import Hooks
from liteq.worker.pool.base import Afresh, ended_by
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.leftovers import Leftovers
from liteq.worker.pool.limits import Limits, hold_back_in, soft_limit_by_signal
from liteq.worker.pool.page import Page
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.memory import resident_kib

__all__ = ["PERMIT", "Child", "ChildLoop", "ChildSettings", "child_of"]

logger = logging.getLogger("liteq.worker")

hold_back_in(__name__)  # an alarm in the handler that sends deferred reports would cut a frame short

RUN = Flag.RUN  # asked for each task: a name of this module
PERMIT = 8  # bytes of a token in the pipe
RECEIVE = 1 << 18  # bytes asked of the socket at once
SHORT_S = 50e-6  # a task expected to take less may run before the report of the last one is sent
DEFER_S = 1e-3  # ... but no report is held back longer than this
DEFER_MOST = 64  # ... nor more than this many


@dataclass(frozen=True)
class ChildSettings:
    """The settings that a child is started with. Limits in seconds, memory in KiB; None: no limit.

    `start_method`: fork, forkserver or spawn; with the last two `afresh` says how a child finds its app. `isolated`: it
    ends after one task.
    """

    hostname: str
    hooks: Hooks | None = None
    limits: Limits = (None, None)
    max_tasks: int | None = None
    max_memory_kib: int | None = None
    start_method: str = "fork"
    afresh: Afresh | None = None
    isolated: bool = False
    coroutines: int | None = None  # at once, of a child of the asyncio pool; None: it runs one task at a time


class ChildLoop(Protocol):
    """A child, as the code that makes its process sees it."""

    def tell_ready(self) -> None:
        """Tell the parent that leases may come."""

    def workloop(self) -> None:
        """Execute until there is nothing more to execute for."""


def child_of(
    app: App, settings: ChildSettings, sock: socket.socket, permits: int, page: Page, *, worker: int | None = None
) -> ChildLoop:
    """The child that `settings` describe, in its own process. `worker`: as of `Child`."""
    if settings.coroutines is None or settings.isolated:
        return Child(app, settings, sock, permits, page, worker=worker)
    from liteq.worker.pool.aio.child import AsyncChild

    return AsyncChild(app, settings, sock, permits, page, worker=worker)


class Child:
    """Runs in the forked process until its parent goes away, or one of its own limits is reached."""

    def __init__(
        self,
        app: App,
        settings: ChildSettings,
        sock: socket.socket,
        permits: int,
        page: Page,
        *,
        worker: int | None = None,
    ) -> None:
        """`worker`: the pid of the process that gives the leases, where that is not this one's parent."""
        self._settings = settings
        self._sock = sock
        self._permits = permits
        self._wait = select.poll()  # not select.select: that takes no descriptor above 1,023
        self._wait.register(permits, select.POLLIN)
        self._frames = wire.Frames()
        self._received = memoryview(bytearray(RECEIVE))  # one for good: a new one each time is memory of the system's
        self._leases: deque[tuple[Any, ...]] = deque()
        self._reports: list[tuple[Any, ...]] = []
        self._deferred_since = 0.0
        self._sending = False
        self._expected_s: dict[str, float] = {}
        self._leftovers: Leftovers | None = None  # while it executes
        self._unseen: Lease | None = None  # the last that was executed, where nobody has looked what it has left
        self._executor = Executor(
            app,
            hostname=settings.hostname,
            hooks=settings.hooks,
            limits=settings.limits,
            started=self._report_started,
            stop=partial(_stop_worker, os.getppid() if worker is None else worker),
            page=page,
        )

    def tell_ready(self) -> None:
        """Tell the parent that leases may come: nothing is left behind yet."""
        self._reports.append((0, 0.0, wire.LEFT_BEHIND, ""))
        self._send_reports()

    def workloop(self) -> None:
        """Execute until there is nothing more to execute for; the caller ends the process.

        Its name is that of billiard, whose users wrap it to do their last things in each process.
        """
        # a report may be deferred for the next task, if that one is expected to be short. Where it is not after all,
        # the parent asks for the deferred reports by this signal.
        signal.signal(signal.SIGURG, self._asked_to_report)
        signal.siginterrupt(signal.SIGURG, False)
        signal.signal(signal.SIGUSR1, soft_limit_by_signal)  # revoke(terminate=True, signal="SIGUSR1"), as in Celery
        done, self._leftovers = 0, Leftovers()
        while (lease := self._next()) is not None:
            if self._reports and not self._may_defer(lease.task):
                self._hand_in()
            try:
                outcome, runtime_s = self._executor.run(lease)
            except BaseException as exc:  # this process ends of it, but reports it first
                lost = ended_by(self._executor.app, lease, exc, what="process", hostname=self._settings.hostname)
                self._report(lease, lost, 0.0)
                self._send_reports()
                raise
            if not self._reports:
                self._deferred_since = time.perf_counter()
            self._report(lease, outcome, runtime_s)
            self._unseen = lease
            if lease.flags & RUN:  # others may wait for its suspension: it goes out at once
                self._hand_in()
            expected = self._expected_s.get(lease.task, runtime_s)
            self._expected_s[lease.task] = expected + (runtime_s - expected) * 0.2
            if self._executor.ending is not None:
                self._send_reports()
                self._executor.end_worker()
            done += 1
            if self._used_up(done):
                break
        self._hand_in()

    def _next(self) -> Lease | None:
        """The next lease that may be started; None when the parent is gone."""
        token = self._next_permit()
        if token is None:
            return None
        while True:
            while self._leases:
                row = self._leases.popleft()
                if row[1] == token:  # others before it were taken back by the parent
                    return Lease._make(row)
            size = self._sock.recv_into(self._received)
            if not size:
                return None
            for rows in self._frames.feed(self._received[:size]):
                self._leases.extend(rows)

    def _next_permit(self) -> int | None:
        while True:
            try:
                data = os.read(self._permits, PERMIT)
            except BlockingIOError:
                self._hand_in()  # nothing to do: deferred reports go out before the wait
                self._wait.poll(LINES.idle())
                continue
            return int.from_bytes(data, "little") if data else None

    # -- reports -----------------------------------------------------------------------------------------------------

    def _report(self, lease: Lease, outcome: Outcome, runtime_s: float) -> None:
        self._reports.append((lease.token, runtime_s, *wire.pack(outcome)))

    def _may_defer(self, task: str) -> bool:
        return (
            len(self._reports) < DEFER_MOST
            and self._expected_s.get(task, 1.0) < SHORT_S
            and time.perf_counter() - self._deferred_since < DEFER_S
        )

    def _hand_in(self) -> None:
        """Send the deferred reports, and what the tasks before have left behind: a look for each would cost a tenth."""
        if self._unseen is not None and self._leftovers is not None:
            if self._leftovers.look(self._unseen):
                self._reports.append((0, 0.0, wire.LEFT_BEHIND, self._leftovers.text))
            self._unseen = None
        self._send_reports()

    def _send_reports(self) -> None:
        """Send the deferred reports. Also called by the signal's handler, which may come between any two bytecodes.

        So the list is one object for good (an `append` whose arguments are still being made has hold of it), and
        while it is being sent the handler has nothing to add: its frame would land in the middle of this one.
        """
        if self._sending or not self._reports:
            return
        self._sending = True
        try:
            reports = self._reports[:]
            self._sock.sendall(wire.frame(reports))
            del self._reports[: len(reports)]
        except (BrokenPipeError, ConnectionResetError):
            os._exit(1)  # the parent is gone: its leases are released by others, no process wants this report
        except OSError as exc:  # EBADF, ENOTSOCK
            raise RuntimeError("a task closed descriptors that are its worker process's (os.closerange?)") from exc
        finally:
            self._sending = False

    def _asked_to_report(self, _signum: int, _frame: FrameType | None) -> None:
        self._send_reports()

    def _report_started(self, lease: Lease, hard_limit_s: float) -> None:
        self._reports.append((lease.token, hard_limit_s, wire.STARTED))
        self._send_reports()

    # -- this process's own limits -----------------------------------------------------------------------------------

    def _used_up(self, done: int) -> bool:
        settings = self._settings
        if settings.isolated or (settings.max_tasks is not None and done >= settings.max_tasks):
            return True
        return settings.max_memory_kib is not None and resident_kib() > settings.max_memory_kib


def _stop_worker(pid: int, cold: bool) -> None:
    os.kill(pid, signal.SIGQUIT if cold else signal.SIGTERM)
