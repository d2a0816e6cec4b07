"""The child of the asyncio pool: one event loop, on which it runs as many leases at once as it has places.

Leases and permits come as they do to any child (prefork/child.py): a lease whose token is still in the pipe is not
started, and the parent may take it back. Over the socket the parent also asks for the end of single tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from liteq.context import App
from liteq.context.unknown import FIRST_PAUSE_MS
from liteq.exceptions import SoftTimeLimitExceeded, TaskRevokedError
from liteq.execution.lines import LINES
from liteq.message import Lease, Outcome, Release
from liteq.utils import coroutines
from liteq.utils.lines import Repeated
from liteq.worker.pool.aio.executor import AsyncExecutor
from liteq.worker.pool.aio.notes import LOOP, THREADS, thread_cell
from liteq.worker.pool.aio.outlet import Outlet
from liteq.worker.pool.aio.running import Running, current, make_task
from liteq.worker.pool.aio.watch import Watch
from liteq.worker.pool.page import Page
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.child import PERMIT, RECEIVE, ChildSettings, _stop_worker
from liteq.worker.pool.prefork.memory import resident_kib
from liteq.worker.pool.runs import GRACE_S

__all__ = ["INTERRUPT", "RETURN", "STOP", "AsyncChild"]

logger = logging.getLogger("liteq.worker")

RETURN, STOP, INTERRUPT = range(3)  # what the parent asks: (kind, token or 0), beside its rows of leases
LEFT_S = 1.0  # that tasks which ended tasks have left on the loop may take to end, when the child does
LOOK_S = 0.25  # between two looks at the memory
NO_THREAD = (
    "no thread can be started, so tasks go back to their queue: {}; allow more processes (`ulimit -u`, or the limit of "
    "the container), or run fewer at once (--concurrency)"
)


class _Threads(ThreadPoolExecutor):
    """Threads of which one that cannot be started is told of, and what it was to run can be cancelled.

    Otherwise `submit` raises, and keeps what it was given, but nobody has its future.
    """

    _refusal: RuntimeError | None = None

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError as exc:
            self._refusal = exc

    def take_refusal(self) -> RuntimeError | None:
        """The error of the thread that was to be started for the last `submit`; None where all is well."""
        refusal, self._refusal = self._refusal, None
        return refusal


class AsyncChild:
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
        """`worker`: as of `Child`."""
        self._settings = settings
        self._places = settings.coroutines or 1
        self._sock, self._permits, self._page = sock, permits, page
        self._cells = page.cells()
        self._frames = wire.Frames()
        self._received = memoryview(bytearray(RECEIVE))
        self._rows: deque[tuple[Any, ...]] = deque()
        self._permitted: deque[int] = deque()  # tokens whose lease has not come, as a rule none
        self._running: dict[int, Running] = {}
        self._reports: list[tuple[Any, ...]] = []
        self._begun = 0
        self._retiring = False  # begins no more
        self._dismissed = False  # there will be no more permits
        self._listening = False  # for permits: not while it has no place
        self._turns = False  # its turn is due
        self._looked_at = 0.0
        self._threads_made = itertools.count()
        parent = os.getppid() if worker is None else worker
        self._executor = AsyncExecutor(
            app,
            hostname=settings.hostname,
            hooks=settings.hooks,
            limits=settings.limits,
            started=self._report_limit,
            stop=partial(_stop_worker, parent),
            make_page=self._make_page,
        )
        self._executor.runs.ask(page.leaving)
        self._threads = _Threads(THREADS, thread_name_prefix="liteq", initializer=self._enter_thread)
        # For `async def` tasks with something around them that cannot await: a thread holds that, the loop the rest.
        self._around = _Threads(self._places, "liteq-around", initializer=self._enter_around)
        self._thread = threading.local()
        self._report = Repeated(logger).report

    # -- life --------------------------------------------------------------------------------------------------------

    def tell_ready(self) -> None:
        """Tell the parent that leases may come."""
        self._sock.sendall(wire.frame([(0, 0.0, wire.LEFT_BEHIND, "")]))

    def workloop(self) -> None:
        """Execute until there is nothing more to execute for; the caller ends the process."""
        signal.signal(signal.SIGUSR1, lambda *_: None)  # a soft limit by signal comes over the socket
        self._base = contextvars.copy_context()  # each task has a copy of its own
        self._sock.setblocking(False)
        self._loop = loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_task_factory(make_task)
        self._outlet = Outlet(loop, self._sock)
        self._watch = Watch(loop, self._in_step)
        self._over: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._sock, self._receive)
        self._listen(True)
        loop.run_until_complete(self._over)
        loop.run_until_complete(self._leave())
        self._watch.end()

    async def _leave(self) -> None:
        """End what tasks have left on the loop. The loop is not closed: that would wait for threads, without end."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=LEFT_S)
        await self._loop.shutdown_asyncgens()
        self._outlet.drain()

    def _in_step(self) -> Lease | None:
        running = self._running.get(self._cells[LOOP])
        return None if running is None else running.lease

    # -- from the parent ---------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            size = self._sock.recv_into(self._received)
        except BlockingIOError:
            return
        if not size:
            self._loop.remove_reader(self._sock)
            self._dismiss()
            return
        for rows in self._frames.feed(self._received[:size]):
            for row in rows:
                if len(row) == 2:
                    self._begin_permitted()  # it may be about a lease that came just before
                    self._obey(*row)
                else:
                    self._rows.append(row)
        self._begin_permitted()

    def _obey(self, kind: int, token: int) -> None:
        if kind == RETURN:
            self._return_unbegun(token)
            return
        running = self._running.get(token)
        if running is None:
            return
        if kind == INTERRUPT:
            running.interrupt(SoftTimeLimitExceeded())
        else:
            running.stop(TaskRevokedError("terminated"))

    def _return_unbegun(self, token: int) -> None:
        """Give back what waits for a thread: this lease, or with 0 all."""
        asked = [self._running.get(token)] if token else list(self._running.values())
        for running in asked:
            if running is not None and running.in_thread is not None and running.in_thread.cancel():
                self._begun -= 1
                self._done(running, Release(), 0.0)

    def _dismiss(self) -> None:
        self._dismissed = True
        self._listen(False)
        self._soon()

    # -- places ------------------------------------------------------------------------------------------------------

    def _listen(self, listening: bool) -> None:
        """Wait for permits, or no longer."""
        if listening is self._listening:
            return
        self._listening = listening
        if listening:
            self._loop.add_reader(self._permits, self._take_permits)
        else:
            self._loop.remove_reader(self._permits)

    def _room(self) -> int:
        if self._retiring or self._dismissed:
            return 0
        room = self._places - len(self._running) - len(self._permitted)
        most = self._settings.max_tasks
        return room if most is None else min(room, most - self._begun - len(self._permitted))

    def _take_permits(self) -> None:
        """Take as many permits as there are places, and begin those leases."""
        room = self._room()
        if room <= 0:
            self._listen(False)
            return
        try:
            data = os.read(self._permits, PERMIT * room)
        except BlockingIOError:
            self._listen(True)
            return
        if not data:
            self._dismiss()
            return
        self._permitted += [int.from_bytes(data[i : i + PERMIT], "little") for i in range(0, len(data), PERMIT)]
        self._begin_permitted()

    def _begin_permitted(self) -> None:
        while self._permitted and self._rows:
            row = self._rows.popleft()
            if row[1] == self._permitted[0]:  # others before it were taken back by the parent
                self._permitted.popleft()
                self._begin(Lease._make(row))

    def _begin(self, lease: Lease) -> None:
        running = self._running[lease.token] = Running(lease)
        self._begun += 1
        self._watch.busy(True)
        if self._executor.is_awaited(lease):
            running.start(self._loop, self._await(running), self._cells, self._base)
        else:
            self._begin_in_thread(running)
        if self._begun == self._settings.max_tasks:
            self._retire()

    def _begin_in_thread(self, running: Running) -> None:
        threads = self._around if self._executor.is_async(running.lease) else self._threads
        context = self._base.copy()
        context.run(current.set, (running, self._cells))
        future = threads.submit(context.run, self._run_in_thread, running)
        running.in_thread = future
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._thread_done, running, done))
        if (refused := threads.take_refusal()) and future.cancel():  # else a thread that was there has begun it
            self._report(logging.ERROR, NO_THREAD.format(refused))
            self._begun -= 1
            self._done(running, Release(pause_ms=FIRST_PAUSE_MS, options=running.lease.options), 0.0)

    # -- on the loop, and in threads ---------------------------------------------------------------------------------

    async def _await(self, running: Running) -> None:
        self._done(running, *await self._executor.arun(running))

    def _run_in_thread(self, running: Running) -> tuple[Outcome, float]:
        cell = getattr(self._thread, "cell", None)
        if cell is None:
            return self._executor.run(running.lease)
        self._cells[cell] = running.lease.token
        try:
            return self._executor.run(running.lease)
        finally:
            self._cells[cell] = 0

    def _thread_done(self, running: Running, done: Future[tuple[Outcome, float]]) -> None:
        if done.cancelled():
            if running.ended_by is not None:
                self._done(running, None, 0.0)
            return
        self._done(running, *self._executor.outcome_in_thread(running, done))

    def _enter_thread(self) -> None:
        self._thread.number = next(self._threads_made)
        self._thread.cell = thread_cell(self._thread.number)

    def _enter_around(self) -> None:
        coroutines.run_elsewhere(self._run_on_loop)

    def _run_on_loop(self, coroutine: Any) -> Any:
        """Run the body of a task whose surroundings hold this thread."""
        return asyncio.run_coroutine_threadsafe(self._executor.inside(coroutine), self._loop).result()

    def _make_page(self) -> Page:
        return self._page.part(self._thread.number, THREADS)

    # -- ends --------------------------------------------------------------------------------------------------------

    def _done(self, running: Running, outcome: Outcome | None, runtime_s: float) -> None:
        """Report the end of a lease: None is the end that the parent has asked for."""
        token = running.lease.token
        if self._running.pop(token, None) is None:
            return
        running.let_go()
        kind = (wire.STOPPED,) if outcome is None else wire.pack(outcome)
        self._reports.append((token, runtime_s, *kind))
        if self._executor.ending is not None:
            self._send_reports()
            self._executor.end_worker()
        self._soon()

    def _soon(self) -> None:
        if not self._turns:
            self._turns = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Send the reports that have come together, and begin others in the places that are free."""
        self._turns = False
        self._look_at_memory()
        self._send_reports()
        if not self._running:
            self._watch.busy(False)
            if (wait_ms := LINES.idle()) is not None:
                self._loop.call_later(wait_ms / 1000, LINES.idle)
            if self._dismissed and not self._over.done():
                self._over.set_result(None)
        if not self._listening:
            self._take_permits()

    def _send_reports(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._outlet.send(reports)

    def _report_limit(self, lease: Lease, hard_limit_s: float) -> None:
        """Tell the parent, at once, when it is to end this process for `lease`."""
        grace_s = GRACE_S if self._executor.is_awaited(lease) else 0.0
        self._outlet.send([(lease.token, hard_limit_s, wire.STARTED, grace_s)])

    # -- this process's own limits -----------------------------------------------------------------------------------

    def _look_at_memory(self) -> None:
        most = self._settings.max_memory_kib
        if most is None or self._retiring or (now := time.monotonic()) < self._looked_at + LOOK_S:
            return
        self._looked_at = now
        if resident_kib() > most:
            self._retire()

    def _retire(self) -> None:
        """Begin no more; the parent has another child take over, and lets this one go when it is idle."""
        self._retiring = True
        self._listen(False)
        self._reports.append((0, 0.0, wire.RETIRING))
        self._soon()
