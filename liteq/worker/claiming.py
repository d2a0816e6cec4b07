"""The decision of each turn of the loop: whether to ask the storage, and for how many messages.

Pure: it reads no clock and no file. The loop tells it of rings, and of the answer to the last question.
"""

from __future__ import annotations

from math import inf

__all__ = ["Claiming", "due_at"]


class Claiming:
    """The knowledge of one loop about its queues. Times are monotonic seconds."""

    __slots__ = ("_due_at", "_expectant", "_look", "_rung")

    def __init__(self) -> None:
        self._look = True  # there may be something to claim
        self._rung = False  # the bell was rung since the last claim
        self._expectant = False  # a claim after a ring is not preceded by a look
        self._due_at = inf  # when the next scheduled message comes due

    def look(self) -> None:
        """Note that there may be something to claim."""
        self._look = True

    def rung(self) -> None:
        """Note that the bell was rung."""
        self._look = self._rung = True

    def woke(self) -> None:
        """Note that the loop has slept until something came: the next claim is not preceded by a look."""
        self._look = self._rung = self._expectant = True

    def limit(self, now: float, room: int, *, outcomes: bool, gathering: bool, wakes: bool) -> int | None:
        """Decide how many messages this turn's transaction may claim; None: this turn needs no transaction.

        `room`: how many messages could be executed; `outcomes`: there are some to settle; `gathering`: these may still
        wait for others to share their commit, as they do while every executor has work; `wakes`: they may unblock what
        comes next, which is claimed in the same transaction.
        """
        if room > 0 and (self._look or now >= self._due_at):
            return room
        if not outcomes or (gathering and room <= 0):
            return None
        if wakes:
            self._look = True  # also where there is no room now
        return room if wakes else 0

    @property
    def expectant(self) -> bool:
        """Whether the next claim is to take the write lock at once, without a look first."""
        return self._expectant and self._rung

    def learn(self, limit: int, claimed: int, due_at: float) -> None:
        """Note the answer: `claimed` of at most `limit` messages; the next scheduled one comes due at `due_at`."""
        if self._rung and limit > 0:
            # Where the last ring was for this worker, the next one will be; of several idle ones, those that came too
            # late look first, without the write lock.
            self._expectant, self._rung = claimed > 0, False
        if limit > 0:  # else nothing was looked at
            self._look = limit <= claimed
            if not self._look:
                self._due_at = due_at

    def next_at(self) -> float:
        """When there may be something to claim: 0.0 for now, infinity where nothing is known to come."""
        return 0.0 if self._look else self._due_at


def due_at(due_ms: int | None, now_ms: int, now: float) -> float:
    """The wall clock's `due_ms` by the monotonic clock, of which `now` is the wall's `now_ms`; infinity for None."""
    return inf if due_ms is None else now + max(0.0, (due_ms - now_ms) / 1000)
