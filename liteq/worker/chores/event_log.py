"""The events of a worker's tasks, where they are switched on (`-E`). They are written to the file.

The event of a task's end is written in the transaction that stores its outcome, so no event is left of an outcome that
was lost, and no outcome is without its event. The events before it (received, started) follow within a tenth of a
second, or with that one. The run of a workflow is received and started once, and its waits are no events.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from liteq.clock import from_ms
from liteq.context import App
from liteq.events.dispatcher import event_bytes, event_fields
from liteq.execution.shown import with_arguments
from liteq.message import Ack, Cancel, DeadLetter, Flag, Lease, Limited, Outcome, Release, RetryAt
from liteq.monitor.messages import shown
from liteq.serialization import decode, decode_error, kind_of
from liteq.serialization.content import options_of
from liteq.storage.storage import Storage, TaggedEvents
from liteq.worker.pool import Pool

__all__ = ["EventLog"]

logger = logging.getLogger("liteq.worker")

FLUSH_S = 0.1  # until gathered events are written, where no outcome takes them along


class EventLog:
    """A chore of the worker's loop; off, it is never due and nothing is gathered.

    `held`: the worker's leases, also those whose outcomes are not stored yet.
    """

    def __init__(
        self, app: App, storage: Storage, hostname: str, pool: Pool, *, enabled: bool,
        held: Callable[[], Sequence[Lease]],
    ) -> None:  # fmt: skip
        self._app = app
        self._storage = storage
        self._hostname = hostname
        self._pool = pool
        self._held = held
        self._waiting: list[bytes] = []
        self._started: set[int] = set()  # the tokens of leases whose start has its event
        self.enabled = False
        self.due_at = inf
        if enabled:
            self.enable()

    def enable(self) -> bool:
        """Write events from now on; False where it did already."""
        if self.enabled:
            return False
        self.enabled, self.due_at = True, 0.0
        return True

    def disable(self) -> bool:
        """Write no more events; False where it wrote none."""
        if not self.enabled:
            return False
        self.enabled, self.due_at = False, inf
        self._started.clear()
        self._waiting.clear()
        return True

    # -- the consumer's turns ----------------------------------------------------------------------------------------

    def received(self, leases: Sequence[Lease]) -> None:
        """Gather the events of leases that have just been claimed."""
        if self.enabled:
            for lease in leases:
                if self._tells(lease):
                    self._add(self._waiting, partial(self._receipt, lease))

    def ended(self, settled: Sequence[tuple[Lease, Outcome]]) -> TaggedEvents:
        """The events to write with these outcomes, each with the fencing token of its lease; None: of no lease."""
        if not self.enabled:
            return ()
        timings = self._pool.timings
        tagged: list[tuple[int | None, bytes]] = [(None, event) for event in self._waiting]
        for lease, outcome in settled:
            ran = outcome.ran if type(outcome) is Ack else timings.get(lease.token)
            runtime_s = None if ran is None else ran[1]
            if not self._tells(lease):
                continue
            events: list[bytes] = []
            if runtime_s is not None and lease.token not in self._started and not lease.flags & Flag.HISTORY:
                since = time.monotonic() - runtime_s
                self._add(events, partial(self._start, lease, since, None))
            self._add(events, partial(self._end, lease, outcome, runtime_s or 0.0))
            tagged += [(lease.token, event) for event in events]
        return tagged

    @staticmethod
    def _add(events: list[bytes], make: Callable[[], bytes | None]) -> None:
        """Add the event that `make` gives. An error in the repr() of a user's object must not lose an outcome."""
        try:
            event = make()
        except Exception:
            logger.exception("an event could not be written")
        else:
            events += [] if event is None else [event]

    def written(self, tagged: TaggedEvents) -> None:
        """Forget these events: they are in the file.

        Not before: where outcomes could not be stored, `ended` is called with them again.
        """
        del self._waiting[: sum(token is None for token, _ in tagged)]
        self._started.difference_update(token for token, _ in tagged if token is not None)

    # -- the chore ---------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Gather the events of started tasks, and write all that were gathered."""
        self.due_at = time.monotonic() + FLUSH_S
        running = self._pool.running()
        for lease, since, pid in running:
            if lease.token not in self._started and not lease.flags & Flag.HISTORY and self._tells(lease):
                self._started.add(lease.token)
                self._waiting.append(self._start(lease, since, pid))
        self._started &= {lease.token for lease in self._held()}
        if self._waiting:
            self._storage.events.put(self._waiting)
            self._waiting.clear()

    # -- one event ---------------------------------------------------------------------------------------------------

    def _tells(self, lease: Lease) -> bool:
        task = self._app.tasks.get(lease.task)
        return task is None or bool(task.send_events)

    def _receipt(self, lease: Lease) -> bytes:
        return self._event("task-received", lease, **self._call(lease))

    def _event(self, type_: str, lease: Lease, **fields: Any) -> bytes:
        return event_bytes(event_fields(self._app, type_, self._hostname, uuid=lease.id, **fields))

    def _call(self, lease: Lease) -> dict[str, Any]:
        """The fields of an event that show the call; its arguments as a person may see them."""
        call = shown(self._app, with_arguments(self._app, lease))
        options = options_of(lease.options)
        return {
            "name": options.get("shadow") or lease.task,  # as in Celery
            "args": call.argsrepr,
            "kwargs": call.kwargsrepr,
            "root_id": lease.root_id or lease.id,
            "parent_id": lease.parent_id,
            "retries": lease.retries,
            "eta": options.get("eta"),
            "expires": None if lease.expires_ms is None else from_ms(lease.expires_ms).isoformat(),
        }

    def _start(self, lease: Lease, since: float, pid: int | None) -> bytes:
        ago_s = max(0.0, time.monotonic() - since)
        fields = event_fields(self._app, "task-started", self._hostname, uuid=lease.id)
        fields["timestamp"] -= ago_s
        fields["pid"] = pid or fields["pid"]
        return event_bytes(fields)

    def _end(self, lease: Lease, outcome: Outcome, runtime_s: float) -> bytes | None:
        match outcome:
            case Ack(result):
                task = self._app.tasks.get(lease.task)
                most = 1024 if task is None else task.resultrepr_maxsize
                sealed = None if result is None else kind_of(result)
                value = sealed if sealed is not None else None if result is None else decode(result)
                return self._event("task-succeeded", lease, result=repr(value)[:most], runtime=runtime_s)
            case RetryAt(error=error) | Limited(error=error) if error is not None:
                return self._event("task-retried", lease, **_exception(error))
            case DeadLetter(error):
                if decode_error(error).type == "Reject":
                    return self._event("task-rejected", lease, requeue=False)
                return self._event("task-failed", lease, **_exception(error))
            case Release(crashed=True, error=error) if error is not None:
                return self._event("task-retried", lease, **_exception(error))
            case Release(error=error) if error is not None:
                return self._event("task-rejected", lease, requeue=True)
            case Cancel(error) if error is not None and decode_error(error).type == "TaskRevokedError":
                reason = decode_error(error).message
                ends = {"terminated": reason == "terminated", "signum": None, "expired": reason == "expired"}
                return self._event("task-revoked", lease, **ends)
            case _:
                return None


def _exception(error: bytes) -> dict[str, str]:
    doc = decode_error(error)
    return {"exception": f"{doc.type}({doc.message!r})", "traceback": doc.traceback}
