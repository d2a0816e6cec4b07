"""Reading for people and monitors: bounded, each method one short snapshot with a deadline.

A long reader keeps the log from being folded: a statement that is still busy after a second is stopped (ReadTimeout).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.states import State
from liteq.storage.driver import Row
from liteq.storage.facades.base import Facade
from liteq.storage.limits.rules import Rules
from liteq.storage.reading import browse as _browse
from liteq.storage.reading import holding as _holding
from liteq.storage.reading import lineage as _lineage
from liteq.storage.reading import overview as _overview
from liteq.storage.reading import position as _position
from liteq.storage.reading.browse import Line, Mark, Whole
from liteq.storage.reading.holding import Holding, KeyRow, PlaceTaken, Waits
from liteq.storage.reading.lineage import Lineage, Near
from liteq.storage.reading.overview import COUNTED, Bounded, Count, Overview
from liteq.storage.reading.position import Ahead, Exclusive, Held

__all__ = ["DEADLINE_S", "Views"]

DEADLINE_S = 1.0

Given = Mapping[str, object]


class Views(Facade):
    """Lists, numbers and kin of messages, at ten million rows as at ten."""

    def overview(self, limit: int = COUNTED) -> Overview:
        """How many messages are in each state and each queue, and how late each queue is; counted up to `limit`."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _overview.look(tx, limit)

    def states(self) -> dict[State, Bounded]:
        """How many messages are in each state; of each 10,000 are counted at most."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _overview.states(tx)

    def by_queue(self, read: int = COUNTED) -> list[Count]:
        """How many messages there are, by queue and state; of each state 10,000 are counted at most.

        `read`: fewer of those states whose rows have to be read for it, which are all but pending and held.
        """
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _overview.by_queue(tx, read=read)

    def page(self, walk: str, *, after: Mark | None = None, limit: int = 100, given: Given | None = None) -> list[Line]:
        """Up to `limit` messages of a walk (`browse.WALKS`) behind the mark `after`: the `key` of a line."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.page(tx, walk, after=after, limit=limit, given=given)

    def seen(self, walk: str, *, after: Mark | None = None, limit: int, given: Given | None = None) -> list[Row]:
        """As `page`, for a look at many: (number, state, task, queue, *mark) of each, as rows."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.seen(tx, walk, after=after, limit=limit, given=given)

    def wholes(self, walk: str, *, after: Mark | None = None, limit: int, given: Given | None = None) -> list[Whole]:
        """As `page`, with the arguments."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.wholes(tx, walk, after=after, limit=limit, given=given)

    def lines(self, seqs: Sequence[int]) -> list[Line]:
        """The messages of these row numbers that are there still."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.line(tx, seqs)

    def begins_with(self, start: str, *, limit: int = 20) -> list[Line]:
        """The messages whose ids begin with `start`."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.begins_with(tx, start, limit=limit)

    def tags(self, id_: str) -> list[str]:
        """The tags of a task or a run, in their order."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.tags(tx, id_)

    def seq_before(self, until_ms: int) -> int:
        """The number of the first row that was sent after `until_ms`, for the walk "all"."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _browse.seq_before(tx, until_ms)

    def lineage(self, id_: str, *, limit: int = _lineage.MOST) -> Lineage | None:
        """The messages of the canvas that this id is a part of, `limit` at most; None where nothing is known of it."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _lineage.lineage(tx, id_, limit=limit)

    def kin(self, id_: str, *, limit: int = 100) -> Near:
        """The messages around one: its root, what sent it, what it awaits, what awaits it, what it sent, its group."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _lineage.near(tx, id_, limit=limit)

    def canvases(self, *, after: str | None = None, limit: int = 50, rows: int = 100) -> list[Lineage]:
        """The newest canvases, or those behind the root `after`, each with `rows` of its messages at most."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _lineage.newest(tx, after=after, limit=limit, rows=rows)

    # -- where one stands --------------------------------------------------------------------------------------------

    def ahead(self, id_: str) -> Ahead | None:
        """How many messages are claimed before the pending one of this id; None where it is not pending."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.ahead(tx, id_)

    def held_by(self, id_: str) -> Held | None:
        """The lease on the message of this id; None where it is under none."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.held_by(tx, id_)

    def exclusive(self, key: str, message_id: str) -> Exclusive:
        """The messages by which a unique key excludes others, and the key as it stands in the row of one message."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.exclusive(tx, key, message_id)

    def progress_of(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The progress (JSON) that those of these messages have told that run now."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.progress_of(tx, ids)

    def failed_of(self, group: str) -> str | None:
        """The id of the member of a group that was the first not to succeed."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.failed_of(tx, group)

    # -- what limits hold back -----------------------------------------------------------------------------------------

    def limits(self) -> Rules:
        """The limits that are set, to find the one that a key goes by."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.limits(tx)

    def key_row(self, key: str) -> KeyRow | None:
        """The state of a key; None for one that is neither in use nor paused."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.key_row(tx, key)

    def waited_for(self, *, limit: int) -> list[str]:
        """Up to `limit` keys that something waits for, by key."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.waited_for(tx, limit=limit)

    def paused_keys(self) -> list[str]:
        """The keys that are paused, by key, among the first 10,000 that are in use or paused."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.paused_keys(tx, now_ms=self._clock.now_ms())

    def holding(self, key: str, *, limit: int = COUNTED) -> tuple[list[Holding], Bounded]:
        """The messages that wait for `key`, by queue, and how many of its places are taken; each up to `limit`."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.held_of(tx, key, limit=limit), _holding.running(tx, key, limit=limit)

    def turns(self, queue: str, *, keys: int, limit: int) -> list[tuple[str, Holding]]:
        """Up to `keys` fair keys that wait for their turn in `queue`, with what each has there, up to `limit`."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            lines = _holding.fair_keys(tx, queue, limit=keys)
            return [(line, one) for line in lines for one in _holding.held_in(tx, line, queue, limit=limit)]

    def lines_of(self, key: str) -> list[str]:
        """The lines that wait for `key`, 200 at most."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.lines(tx, key)

    def places(self, key: str, *, limit: int = 20) -> list[PlaceTaken]:
        """Up to `limit` of the messages that have the places under `key`, the oldest first."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.places(tx, key, limit=limit)

    def places_of(self, id_: str) -> dict[str, int]:
        """The keys under which the message of this id has a place, with since when (ms)."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.taken(tx, id_)

    def waits(self, id_: str) -> Waits | None:
        """Where a held message stands: its line, the key that it waits for, since when; None for one not held."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _holding.waits(tx, id_)
