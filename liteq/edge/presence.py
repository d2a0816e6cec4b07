"""The gateway as a worker in the queue's list: it holds leases for programs that cannot open the queue.

So its leases end when it dies, as any worker's do. Each ends at its own deadline before that: the programs extend them,
the gateway does not. It enters the list with the first lease that is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable

from liteq.context import App
from liteq.context.identity import expand_name, me
from liteq.exceptions import StorageError
from liteq.monitor.workers import GATEWAY
from liteq.worker.chores.heartbeat import Heartbeat, KeepAlive

__all__ = ["LONGEST_S", "Presence"]

logger = logging.getLogger("liteq.gateway")

LONGEST_S = 12 * 3600.0  # of one lease, as SQS has it


class Presence:
    """The worker of this process. Safe to use from any thread, and after a fork."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._pid = 0
        self._queues: set[str] = set()
        self._heartbeat: Heartbeat | None = None
        self._keep: KeepAlive | None = None

    def number(self, queues: Iterable[str]) -> int:
        """The worker's number, which leases of `queues` are to bear."""
        with self._lock:
            self._queues |= set(queues)
            if self._heartbeat is None or self._pid != os.getpid():
                self._enter()
            assert self._heartbeat is not None
            return self._heartbeat.worker

    def ends_in(self, seconds: float) -> None:
        """Note that a lease ends then: what has run out goes back to its queue soon after, and not at the next beat."""
        beat = self._heartbeat
        if beat is not None:
            beat.due_at = min(beat.due_at, beat.monotonic() + seconds)

    def leave(self) -> None:
        """Sign off. Leases that programs still hold go back to their queues."""
        with self._lock:
            if self._heartbeat is None or self._pid != os.getpid():
                return
            beat, keep, self._heartbeat = self._heartbeat, self._keep, None
        if keep is not None:
            keep.__exit__()
        try:
            self._app.storage.reap([beat.worker], expired=False)
        except StorageError as exc:  # the others see that this process is gone
            logger.warning("cannot sign off: %s", exc)

    def _enter(self) -> None:
        conf, storage = self._app.conf, self._app.storage
        pid = os.getpid()
        self._heartbeat = Heartbeat(
            storage,
            me(expand_name(f"gateway-{pid}@%h")),
            visibility_s=conf.visibility_timeout,
            longest_s=LONGEST_S,
            result_expires_s=conf.result_expires,
            dead_expires_s=conf.dead_expires,
            info=lambda: {GATEWAY: True, "queues": sorted(self._queues)},
            patience_s=conf.busy_timeout,
            monotonic=self._app.clock.monotonic,
        )
        self._heartbeat.tell(ending=False, quiet=False, full=False)  # it lends from its first moment on
        self._keep = KeepAlive(self._heartbeat, list, lambda _now: None)
        self._keep.__enter__()
        self._pid = pid  # last: where it could not enter, the next call tries again
