"""The notes that one worker makes for all: measures of each minute, a mark when new code starts; and what is old goes.

Each worker looks once a minute, and the first to do so in a minute has the work of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from liteq.storage.storage import Storage

__all__ = ["Recording"]

LOOK_S = 60.0
CHUNK = 1_000  # notes that are deleted in one transaction
FIRST_S = 5.0  # after the start: not all workers that start at once look at once
SLICE_S = 0.02  # that the loop is held up by what is old: much of it has come of age at once where an age was lowered
PAUSE_S = 0.2  # between two slices


class Recording:
    """A chore of the worker's loop.

    `release`: of this worker's code; "" leaves no mark. `audit_expires_s`: the age at which what people did is
    forgotten, `history_expires_s` that of statistics and causes, `events_expires_s` that of events; None or 0: never.
    `monotonic`: the clock that paces it.
    """

    def __init__(
        self,
        storage: Storage,
        release: str,
        audit_expires_s: float | None,
        history_expires_s: float | None = None,
        events_expires_s: float | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._release = release
        self._audit_expires_s = audit_expires_s
        self._history_expires_s = history_expires_s
        self._events_expires_s = events_expires_s
        self._monotonic = monotonic
        self._marked = not release
        self._look_at = self.due_at = monotonic() + FIRST_S * random.random()
        self._rest: Iterator[None] | None = None  # of the clearing away that this worker has begun

    def turn(self) -> None:
        """Mark a new release, measure, and clear away; the last two where no worker has in this minute."""
        now = self._monotonic()
        if self._rest is None:
            self._look_at = now + LOOK_S
            self._look()
        self._clear_away(now + SLICE_S)
        self.due_at = self._look_at if self._rest is None else self._monotonic() + PAUSE_S

    def _look(self) -> None:
        if not self._marked:
            self._storage.audit.mark_release(self._release)
            self._marked = True
        if self._storage.stats.sample():
            self._rest = self._old()

    def _clear_away(self, until: float) -> None:
        """Go on with what is old, for a moment."""
        for _ in self._rest or ():
            if self._monotonic() >= until:
                return
        self._rest = None

    def _old(self) -> Iterator[None]:
        """All that has come of age, a transaction at a step."""
        yield from self._storage.stats.tidying(self._history_expires_s)
        yield from self._storage.limits.tidying()
        if self._audit_expires_s:
            before_ms = self._storage.clock.now_ms() - int(self._audit_expires_s * 1000)
            while self._storage.audit.expire(before_ms, CHUNK) >= CHUNK:
                yield
        # Whether this worker writes events or not: the app that sends does too, and other workers.
        if self._events_expires_s:
            while self._storage.events.trim(self._events_expires_s, CHUNK) >= CHUNK:
                yield
