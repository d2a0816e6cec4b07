"""A queue run empty in this process: tasks and runs, with the real claim, execution and settling, and no worker."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from liteq.clock import FakeClock
from liteq.context import App, Request
from liteq.exceptions import LiteqError, TaskRevokedError
from liteq.execution.arguments import arguments
from liteq.execution.execute import execute
from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Outcome, WorkerIdentity, new_id
from liteq.serialization import encode, encode_error
from liteq.states import State

__all__ = ["Drain", "Mocks", "outcome_of"]

WAITING = (State.PENDING, State.SCHEDULED)
Mocks = Mapping[str, Any]  # by a name, or its last part


class Drain:
    """Executes what is due in `queues` (None: in all). `limit`: leases of one claim."""

    def __init__(self, app: App, queues: Sequence[str] | None = None, *, limit: int = 100) -> None:
        self._app = app
        self._queues = queues
        self._limit = limit

    def run(self, *, until_ms: int | None = None) -> int:
        """Execute until nothing is due; how many. `until_ms`: a FakeClock is moved on, from due time to due time."""
        app, clock = self._app, self._app.clock
        storage = app.storage
        app.finalize()
        identity = WorkerIdentity(new_id(), "drain", socket.gethostname(), "", os.getpid(), "")
        worker = storage.register_worker(identity)
        flows = {name: task.run_spec for name, task in app.tasks.items() if getattr(task, "is_workflow", False)}
        done = 0
        try:
            while True:
                queues = self._queues or self._all()
                turn = storage.turn((), queues, worker=worker, limit=self._limit, visibility_s=3600, flows=flows)
                leases = turn.leases
                for lease in leases:
                    self._execute(lease)
                done += len(leases)
                if leases:
                    continue
                due_ms = storage.reader.next_due_ms()
                if until_ms is None or due_ms is None or due_ms > until_ms or not isinstance(clock, FakeClock):
                    return done
                clock.advance_to(due_ms)
        finally:
            storage.unregister_worker(worker)

    def _execute(self, lease: Lease) -> None:
        outcome = outcome_of(self._app, lease)
        lost = self._app.storage.settle([(lease, outcome)])
        if lease.flags & Flag.RUN and not lost:
            from liteq.workflow.announce import announce

            announce(self._app, lease, outcome)

    def _all(self) -> list[str]:
        counts = self._app.storage.reader.counts()
        return sorted({n.queue for n in counts if n.state in WAITING}) or [self._app.conf.task_default_queue]


def outcome_of(app: App, lease: Lease) -> Outcome:
    """Execute one lease here."""
    begun = lease.flags & Flag.RUN and lease.flags & Flag.HISTORY
    if lease.expires_ms is not None and not begun and app.clock.now_ms() >= lease.expires_ms:
        return Cancel(encode_error(TaskRevokedError("expired")))
    try:
        lease = app.storage.reader.with_payload(lease)
    except LiteqError as exc:
        return DeadLetter(encode_error(exc))
    mocks: Mocks | None = getattr(app, "workflow_mocks", None)
    if mocks and (mock := mocks.get(lease.task) or mocks.get(lease.task.rpartition(".")[2])) is not None:
        return _mocked(app, lease, mock)
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


def _mocked(app: App, lease: Lease, mock: Any) -> Outcome:
    """The end of a message whose task, workflow or step a test has replaced."""
    from liteq.workflow.errors import document_of

    known = app.steps_of_workflows.get(lease.task) or app.tasks.get(lease.task)
    codec = getattr(known, "codec", None)
    if codec is None:
        args, kwargs = arguments(known, lease)
    else:
        args, kwargs = codec.load(*app.content.read(lease.payload))
    try:
        value = mock(*args, **kwargs)
        what = f"the mocked result of {lease.task!r}"
        data = encode(value, what=what) if codec is None else codec.result.encode(value)
    except Exception as exc:  # noqa: BLE001 - that is what it was told to raise
        return DeadLetter(document_of(exc, 4096))
    return Ack(data)
