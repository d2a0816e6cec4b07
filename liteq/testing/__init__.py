"""For tests of code that uses liteq: a clock moved by hand, tasks run in place, a queue run empty in-process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from liteq.app import LiteQ
from liteq.context import Request
from liteq.exceptions import LiteqError, TaskRevokedError
from liteq.execution.execute import arguments, execute
from liteq.message import Cancel, DeadLetter, Flag, Lease, Outcome, WorkerIdentity, new_id
from liteq.serialization import encode_error
from liteq.states import State
from liteq.testing.worker import start_worker

__all__ = ["FakeClock", "drain", "eager", "start_worker"]

# Any fixed moment will do: 2026-01-01 00:00:00 UTC.
START_MS = 1_767_225_600_000


class FakeClock:
    """A clock that stands still until it is moved: `LiteQ("test", broker=..., clock=FakeClock())`."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._now_ms = start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return (self._now_ms - self._start_ms) / 1000

    def advance(self, seconds: float) -> None:
        """Move `seconds` on."""
        self._now_ms += int(seconds * 1000)

    def advance_to(self, now_ms: int) -> None:
        """Move to a time, given in ms since the epoch; never back."""
        self._now_ms = max(self._now_ms, now_ms)


@contextmanager
def eager(app: LiteQ, *, propagate: bool = True) -> Iterator[None]:
    """Inside this block tasks of `app` run when they are sent; `propagate`: and their exceptions are raised there."""
    conf = app.conf
    before = conf["task_always_eager"], conf["task_eager_propagates"]
    conf.update(task_always_eager=True, task_eager_propagates=propagate)
    try:
        yield
    finally:
        conf.update(task_always_eager=before[0], task_eager_propagates=before[1])


def drain(app: LiteQ, queues: Sequence[str] | None = None, *, until_ms: int | None = None) -> int:
    """Execute the tasks that are due in `queues` (None: in all), and those that they send, in this process; how many.

    The real claim, execution and settling, without a worker. What is scheduled for later stays, unless the app's
    clock is a FakeClock and `until_ms` is given: the clock is then moved on from one due time to the next, up to it.
    """
    storage, clock = app.storage, app.clock
    app.finalize()
    identity = WorkerIdentity(new_id(), "drain", socket.gethostname(), "", os.getpid(), "")
    worker = storage.register_worker(identity)
    done = 0
    try:
        while True:
            leases = storage.claim(queues or _queues(app), worker=worker, limit=100, visibility_s=3600)
            for lease in leases:
                storage.settle([(lease, outcome_of(app, lease))])
                done += 1
            if leases:
                continue
            due_ms = storage.reader.next_due_ms()
            if until_ms is None or due_ms is None or due_ms > until_ms or not isinstance(clock, FakeClock):
                return done
            clock.advance_to(due_ms)
    finally:
        storage.unregister_worker(worker)


def _queues(app: LiteQ) -> list[str]:
    waiting = (State.PENDING, State.SCHEDULED)
    return sorted({n.queue for n in app.storage.reader.counts() if n.state in waiting}) or [app.conf.task_default_queue]


def outcome_of(app: LiteQ, lease: Lease) -> Outcome:
    """Execute one lease here."""
    if lease.expires_ms is not None and app.clock.now_ms() >= lease.expires_ms:
        return Cancel(encode_error(TaskRevokedError("expired")))
    if lease.flags & Flag.RUN:
        from liteq.workflow.activation import activate

        return activate(app, lease, hostname="drain@localhost")
    try:
        task: Any = app.tasks[lease.task]
        args, kwargs = arguments(task, lease)
    except LiteqError as exc:  # the task is unknown, or its arguments cannot be read
        return DeadLetter(encode_error(exc))
    request = Request.from_lease(lease, args, kwargs, "drain@localhost")
    return execute(task, request, args, kwargs, clock=app.clock).outcome
