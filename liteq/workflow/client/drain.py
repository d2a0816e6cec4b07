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
from liteq.execution.batch import batch_request, outcomes_of
from liteq.execution.execute import execute
from liteq.execution.together import Kinds, in_batches, members_of, terms_in
from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Outcome, WorkerIdentity, new_id
from liteq.sending.behind import has_embedded, put_behind
from liteq.serialization import encode, encode_error
from liteq.states import State
from liteq.workflow.activating.activation import activate
from liteq.workflow.history.announce import announce
from liteq.workflow.history.errors import document_of

__all__ = ["WAITING", "Drain", "Mocks", "outcome_of"]

WAITING = (State.PENDING, State.SCHEDULED)
HOSTNAME = "drain@localhost"
Mocks = Mapping[str, Any]  # by a name, or its last part


class Drain:
    """Executes what is due in `queues` (None: in all). `limit`: leases of one claim.

    `due_ms`: behind `run`, when the next message comes due, or may start under its limits; None where none will.
    """

    due_ms: int | None = None

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
        done, looked = 0, False
        try:
            while True:
                queues = self._queues or self._all()
                turn = storage.turn((), queues, worker=worker, limit=self._limit, visibility_s=3600, flows=flows)
                leases = turn.leases
                for lease in in_batches(leases, self._kinds()):
                    self._execute(lease)
                done += len(leases)
                if leases or not looked:  # one that leases nothing may have put what it met in a line: look once more
                    looked = not leases
                    continue
                due_ms = self.due_ms = self._next_due(turn.due_ms)
                if until_ms is None or due_ms is None or due_ms > until_ms or not isinstance(clock, FakeClock):
                    return done
                clock.advance_to(due_ms)
                looked = False
        finally:
            storage.unregister_worker(worker)

    def _next_due(self, held_ms: int | None) -> int | None:
        """When the next message may start: one that is scheduled, or one that a limit holds back until `held_ms`."""
        due_ms = self._app.storage.reader.next_due_ms()
        if held_ms is None or held_ms <= self._app.clock.now_ms():
            return due_ms
        return held_ms if due_ms is None else min(held_ms, due_ms)

    def _kinds(self) -> Kinds:
        """Which messages are executed together: of a task that a test has replaced, none."""
        terms_of, mocks = terms_in(self._app.tasks), mocks_of(self._app)
        read = self._app.storage.reader.with_payload
        return Kinds(lambda name: None if _mock_of(mocks, name) is not None else terms_of(name), read)

    def _execute(self, lease: Lease) -> None:
        if lease.flags & Flag.BATCH:
            self._app.storage.settle(_outcomes_together(self._app, members_of(lease)))
            return
        outcome = outcome_of(self._app, lease)
        lost = self._app.storage.settle([(lease, outcome)])
        if lease.flags & Flag.RUN and not lost:
            announce(self._app, lease, outcome)

    def _all(self) -> list[str]:
        counts = self._app.storage.reader.counts()
        return sorted({n.queue for n in counts if n.state in WAITING}) or [self._app.conf.task_default_queue]


def mocks_of(app: App) -> Mocks:
    """The stand-ins that tests have put in the place of tasks, workflows and steps."""
    mocks: Mocks | None = getattr(app, "workflow_mocks", None)
    return mocks or {}


def _mock_of(mocks: Mocks, name: str) -> Any:
    return (mocks.get(name) or mocks.get(name.rpartition(".")[2])) if mocks else None


def outcome_of(app: App, lease: Lease) -> Outcome:
    """Execute one lease here."""
    begun = lease.flags & Flag.RUN and lease.flags & Flag.HISTORY
    if not begun and (expired := _expired(app, lease)) is not None:
        return expired
    try:
        lease = app.storage.reader.with_payload(lease)
    except LiteqError as exc:
        return DeadLetter(encode_error(exc))
    if (mock := _mock_of(mocks_of(app), lease.task)) is not None:
        return _mocked(app, lease, mock)
    if lease.flags & Flag.RUN:
        return activate(app, lease, hostname=HOSTNAME)
    request = _request_of(app, lease)
    if not isinstance(request, Request):
        return request
    task: Any = app.tasks[lease.task]
    return execute(task, request, request.args, request.kwargs, clock=app.clock).outcome


def _expired(app: App, lease: Lease) -> Outcome | None:
    if lease.expires_ms is None or app.clock.now_ms() < lease.expires_ms:
        return None
    return Cancel(encode_error(TaskRevokedError("expired")))


def _request_of(app: App, lease: Lease) -> Request | Outcome:
    """The request of a message; its outcome where the task is unknown, or its arguments cannot be read."""
    try:
        args, kwargs = arguments(app.tasks[lease.task], lease)
        if has_embedded(lease):
            put_behind(app, lease)
    except LiteqError as exc:
        return DeadLetter(encode_error(exc))
    return Request.from_lease(lease, args, kwargs, HOSTNAME)


def _outcomes_together(app: App, members: Sequence[Lease]) -> list[tuple[Lease, Outcome]]:
    """Execute a batch here."""
    found: list[tuple[Lease, Outcome]] = []
    run: list[tuple[Lease, Request]] = []
    for lease in members:
        made = _expired(app, lease) or _request_of(app, app.storage.reader.with_payload(lease))
        if isinstance(made, Request):
            run.append((lease, made))
        else:
            found.append((lease, made))
    if run:
        task: Any = app.tasks[members[0].task]
        request = batch_request([made for _, made in run], HOSTNAME)
        executed = execute(task, request, request.args, request.kwargs, clock=app.clock)
        found += zip([lease for lease, _ in run], outcomes_of(task, request, executed), strict=True)
    return found


def _mocked(app: App, lease: Lease, mock: Any) -> Outcome:
    """The end of a message whose task, workflow or step a test has replaced."""
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
