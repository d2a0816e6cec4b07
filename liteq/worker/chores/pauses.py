"""The end of a pause of a queue: nobody rings for it, so a worker looks for it itself.

That a queue is paused needs no look here: each claim leaves it out by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from liteq.storage.storage import Storage

__all__ = ["PauseWatch"]

LOOK_S = 1.0  # between two looks at what is paused


class PauseWatch:
    """A chore of the worker's loop. `look` makes it claim again."""

    def __init__(
        self, storage: Storage, look: Callable[[], None], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage = storage
        self._look = look
        self._monotonic = monotonic
        self._paused = frozenset[str]()
        self._looked_ms = storage.clock.now_ms()
        self.due_at = 0.0

    def turn(self) -> None:
        """See what is paused; claim again where a queue is so no more, also after a pause between two looks."""
        now_ms = self._storage.clock.now_ms()
        found = self._storage.queues.paused(since_ms=min(self._looked_ms, now_ms)).values()
        paused = {one.queue for one in found if one.until_ms is None or one.until_ms > now_ms}
        ends_s = [(one.until_ms - now_ms) / 1000 for one in found if one.until_ms is not None and one.until_ms > now_ms]
        self.due_at = self._monotonic() + max(min([LOOK_S, *ends_s]), 0.0)
        if len(found) > len(paused) or not self._paused <= paused:
            self._look()
        self._paused, self._looked_ms = frozenset(paused), now_ms
