"""The parent's watch over runs: steps past their deadline or that take long, runs that are stuck, signals, retention.

A worker whose app has no workflow has no work here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from math import inf

import orjson

from liteq.context import App
from liteq.exceptions import StorageError
from liteq.message import Ack, Cancel, ContinueAsNew, DeadLetter, Flag, Lease, Outcome, Release, RunSpec
from liteq.storage.storage import Storage
from liteq.worker.pool import Pool
from liteq.worker.pool.page import StepNow
from liteq.worker.pool.runs import GRACE_S, announce_outcome, fingerprint_of, flows_of

__all__ = ["RunWatch"]

logger = logging.getLogger("liteq.worker")

LOOK_S = 1.0  # between two looks at what the executors do
SHOWN_S = 2.0  # a step that has run for so long is written into the file, for `steps()`
STUCK_S = 5.0  # between two looks for runs that other code could not go on with
EXPIRE_S = 60.0  # between two looks for runs whose time is over; where a chunk was full, the next look takes another
LEAST_S = 0.05  # between two looks, whatever is due

QUIET = (Ack, Cancel, ContinueAsNew)  # outcomes of which no signal tells
CHUNK = 1_000  # rows of runs that are over, deleted in one transaction


class RunWatch:
    """A chore of the worker's loop. `worker`: its number in the file; `room`: how many leases `take` may give it."""

    def __init__(
        self,
        app: App,
        storage: Storage,
        pool: Pool,
        *,
        queues: Callable[[], list[str]],
        worker: Callable[[], int],
        room: Callable[[], int],
        take: Callable[[list[Lease]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._storage = storage
        self._pool = pool
        self._queues = queues
        self._worker = worker
        self._room = room
        self._take = take
        self._monotonic = monotonic
        self.specs: dict[str, RunSpec] = {}  # by name: a message sent by name alone becomes a run of it
        self._shown: dict[int, list[StepNow]] = {}  # by token, as the file says it
        self._stuck_at = 0.0
        self._expire_at = 0.0
        self.due_at = inf
        self.reset()

    def reset(self) -> None:
        """See whether there are workflows: modules may have been imported. Whatever is stuck is tried once more."""
        self._stuck_at = 0.0
        flows = flows_of(self._app)
        self.specs.clear()
        self.specs.update({name: flow.run_spec for name, flow in flows.items()})
        self.due_at = 0.0 if flows else inf
        if flows:
            fingerprint_of(self._app)  # a deploy may put other files in the place of those that were imported

    def turn(self) -> None:
        """Kill what is overdue, write what takes long, try what is stuck, clear away what is over."""
        now = self._monotonic()
        self.due_at = now + LOOK_S
        self._pool.end_overdue(now)
        steps = self._pool.steps()
        self._show([step for step in steps if now - step.started >= SHOWN_S])
        times = [step.deadline + GRACE_S for step in steps if step.deadline]
        times += [step.started + SHOWN_S for step in steps]
        ahead = [at for at in times if at > now]
        self.due_at = max(now + LEAST_S, min([self.due_at, *ahead]))
        if now >= self._stuck_at:
            self._stuck_at = now + STUCK_S
            self._try_stuck()
        if now >= self._expire_at:
            full = self._storage.runs.expire(self._app.conf.workflow_expires, limit=CHUNK) >= CHUNK
            self._expire_at = now if full else now + EXPIRE_S

    def settled(self, outcomes: Sequence[tuple[Lease, Outcome]], lost: Sequence[Lease]) -> None:
        """Tell of runs that got stuck, failed, or ask for an approval; `outcomes` were settled, but for the `lost`.

        A run whose process has died once too often has failed by that, as only the file knows.
        """
        if not self.specs:
            return
        told = [pair for pair in outcomes if pair[0].flags & Flag.RUN and type(pair[1]) not in QUIET]
        gone = {lease.token for lease in lost} if told else ()
        for lease, outcome in told:
            if lease.token not in gone:
                announce_outcome(self._app, lease, self._final(lease, outcome))

    def _final(self, lease: Lease, outcome: Outcome) -> Outcome:
        if type(outcome) is Release and outcome.crashed:
            try:
                record = self._storage.runs.find(lease.id)
            except StorageError as exc:  # the turn is in the file, and goes on: what it has claimed is to be executed
                logger.warning("whether %s[%s] has failed by its crash is not told: %s", lease.task, lease.id, exc)
                return outcome
            if record is not None and record.status == "failed" and record.error is not None:
                return DeadLetter(record.error)
        return outcome

    def _show(self, long: list[StepNow]) -> None:
        """Write down what has been running for long, and strike off what was written and has ended."""
        by_run: dict[int, list[StepNow]] = {}
        for step in long:
            by_run.setdefault(step.token, []).append(step)
        if by_run == self._shown:
            return
        rows = {lease.token: lease.seq for lease in self._pool.leases()}
        changed = [token for token in {*by_run, *self._shown} if by_run.get(token) != self._shown.get(token)]
        self._storage.runs.show([(rows[t], t, self._document(by_run.get(t))) for t in changed if t in rows])
        self._shown = by_run

    def _document(self, steps: list[StepNow] | None) -> bytes | None:
        if steps is None:
            return None
        ahead_ms = self._app.clock.now_ms() - int(self._monotonic() * 1000)
        fields = [
            {
                "scope": step.scope,
                "pos": step.pos,
                "kind": "step",
                "name": step.name,
                "key": step.key,
                "attempt": step.attempt,
                "started_ms": ahead_ms + int(step.started * 1000),
            }
            for step in steps
        ]
        return orjson.dumps(fields)

    def _try_stuck(self) -> None:
        """Take the runs that code of another fingerprint got stuck with, each once."""
        room = self._room()
        if room <= 0:
            return
        leases = self._storage.runs.claim_stuck(
            self._queues(),
            worker=self._worker(),
            fingerprint=fingerprint_of(self._app),
            limit=room,
            visibility_s=self._app.conf.visibility_timeout,
        )
        if leases:
            logger.info("trying %d runs that other code got stuck with", len(leases))
            self._stuck_at = 0.0  # there may be more
            self._take(leases)
