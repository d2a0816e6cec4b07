"""Runs executed in this process over a real file, with a clock that is moved by hand, and "kills" between two lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from liteq import LiteQ
from liteq.clock import FakeClock
from liteq.message import Lease, Outcome, Release, WorkerIdentity, new_id
from liteq.serialization import encode_error
from liteq.workflow.client.drain import outcome_of


class Killed(BaseException):
    """The process ends here."""


class Worker:
    """Claims one message at a time and executes it. A `Killed` is what the parent of a dead process sees."""

    def __init__(self, app: LiteQ, name: str = "w") -> None:
        self.app = app
        self.outcomes: list[Outcome] = []
        identity = WorkerIdentity(new_id(), name, "host", "", os.getpid(), "")
        self.number = app.storage.register_worker(identity)

    def claim(self) -> Lease | None:
        flows = {name: task.run_spec for name, task in self.app.tasks.items() if hasattr(task, "run_spec")}
        turn = self.app.storage.turn(
            (), ["celery"], worker=self.number, limit=1, visibility_s=60, expectant=True, flows=flows
        )
        return turn.leases[0] if turn.leases else None

    def execute(self, lease: Lease) -> Outcome:
        return outcome_of(self.app, lease)

    def turn(self) -> bool:
        """Claim, execute and settle one message; False where nothing is due."""
        lease = self.claim()
        if lease is None:
            return False
        try:
            outcome = self.execute(lease)
        except Killed as exc:
            outcome = Release(crashed=True, error=encode_error(RuntimeError(repr(exc))))
        self.outcomes.append(outcome)
        self.app.storage.settle([(lease, outcome)])
        return True

    def run(self, most: int = 10_000) -> int:
        """Execute until nothing is due; how many."""
        for done in range(most):
            if not self.turn():
                return done
        raise AssertionError(f"more than {most} activations")


def new_app(folder: os.PathLike[str], name: str = "wf", *, broker: str | None = None, **settings: object) -> LiteQ:
    return LiteQ(
        name, broker=broker or f"sqlite:///{folder}/queue.db", clock=FakeClock(), durability="relaxed",
        set_as_current=False, **settings,
    )  # fmt: skip


@contextmanager
def killed_at(app: LiteQ, n: int, *, before: bool, verbs: tuple[str, ...] = ("checkpoint",)) -> Iterator[list[str]]:
    """The `n`th write (from 1) of those `verbs` ends the process, before or after its commit; what was written."""
    runs = app.storage.runs
    written: list[str] = []
    originals = {verb: getattr(runs, verb) for verb in verbs}

    def replace(verb: str) -> None:
        def call(*args: object, **kwargs: object) -> object:
            written.append(verb)
            if len(written) == n and before:
                raise Killed(f"before {verb} {n}")
            found = originals[verb](*args, **kwargs)
            if len(written) == n:
                raise Killed(f"after {verb} {n}")
            return found

        setattr(runs, verb, call)

    for verb in verbs:
        replace(verb)
    try:
        yield written
    finally:
        for verb in verbs:
            delattr(runs, verb)
