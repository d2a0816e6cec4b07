"""The notes that one worker makes for all: measures of each minute, a mark when new code starts; and what is old goes.

Each worker looks once a minute, and the first to do so in a minute has the work of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from liteq.storage.storage import Storage

__all__ = ["Recording"]

LOOK_S = 60.0
CHUNK = 1_000  # notes that are deleted in one transaction
FIRST_S = 5.0  # after the start: not all workers that start at once look at once


class Recording:
    """A chore of the worker's loop.

    `release`: of this worker's code; "" leaves no mark. `audit_expires_s`: the age at which what people did is
    forgotten, None or 0: never. `monotonic`: the clock that paces it.
    """

    def __init__(
        self,
        storage: Storage,
        release: str,
        audit_expires_s: float | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._release = release
        self._audit_expires_s = audit_expires_s
        self._monotonic = monotonic
        self._marked = not release
        self.due_at = monotonic() + FIRST_S * random.random()

    def turn(self) -> None:
        """Mark a new release, measure, and clear away; the last two where no worker has in this minute."""
        self.due_at = self._monotonic() + LOOK_S
        if not self._marked:
            self._storage.audit.mark_release(self._release)
            self._marked = True
        if self._storage.stats.sample():
            self._storage.stats.tidy()
            self._storage.limits.tidy()
            self._expire_audit()

    def _expire_audit(self) -> None:
        if not self._audit_expires_s:
            return
        before_ms = self._storage.clock.now_ms() - int(self._audit_expires_s * 1000)
        while self._storage.audit.expire(before_ms, CHUNK) >= CHUNK:
            pass
