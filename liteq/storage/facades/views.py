"""Reading for people and monitors: bounded, each method one short snapshot with a deadline.

A long reader keeps the log from being folded: a statement that is still busy after a second is stopped (ReadTimeout).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.states import State
from liteq.storage import browse as _browse
from liteq.storage import lineage as _lineage
from liteq.storage import overview as _overview
from liteq.storage import position as _position
from liteq.storage.browse import Line, Mark, Whole
from liteq.storage.driver import Row
from liteq.storage.facades.base import Facade
from liteq.storage.lineage import Lineage, Near
from liteq.storage.overview import COUNTED, Bounded, Count, Overview
from liteq.storage.position import Ahead, Held

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

    def by_queue(self) -> list[Count]:
        """How many messages there are, by queue and state; of each state 10,000 are counted at most."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _overview.by_queue(tx)

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

    def canvases(self, *, before: str | None = None, limit: int = 50, rows: int = 100) -> list[Lineage]:
        """The newest canvases, or those before the root `before`, each with `rows` of its messages at most."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _lineage.newest(tx, before=before, limit=limit, rows=rows)

    # -- where one stands --------------------------------------------------------------------------------------------

    def ahead(self, id_: str) -> Ahead | None:
        """How many messages are claimed before the pending one of this id; None where it is not pending."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.ahead(tx, id_)

    def held_by(self, id_: str) -> Held | None:
        """The lease on the message of this id; None where it is under none."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.held_by(tx, id_)

    def failed_of(self, group: str) -> str | None:
        """The id of the member of a group that was the first not to succeed."""
        with self._driver.read(within_s=DEADLINE_S) as tx:
            return _position.failed_of(tx, group)
