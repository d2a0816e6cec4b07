"""Reading: pages of messages for a list, also where there are millions.

A page begins after a row, not after a number of rows, so that the last one costs as much as the first. A line has no
payload and no result.
"""

from __future__ import annotations

from collections.abc import Mapping

from liteq.states import EXPIRABLE, State
from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Line", "Mark", "page"]


class Mark(NamedTuple):
    """Where a page ended: the sort key and the row number of its last line."""

    key: int
    seq: int


class Line(NamedTuple):
    """A message in a list. Times are ms since the epoch; `worker` is the name of the one that holds or held it."""

    seq: int
    id: str
    task: str
    queue: str
    priority: int
    state: str
    created_ms: int
    due_ms: int
    finished_ms: int | None
    retries: int
    crashes: int
    error: bytes | None
    worker: str | None
    key: int

    @property
    def mark(self) -> Mark:
        return Mark(self.key, self.seq)


# A state's partial index is used where the query has its condition word for word. Finished messages, the newest first;
# scheduled ones in the order in which they come due; else the newest first.
_ENDED = "m.finished_ms IS NOT NULL AND m.state <> 'dead'"
_WHERE: Mapping[State | None, tuple[str, str, str]] = {
    None: ("TRUE", "m.seq", "DESC"),
    State.DEAD: ("m.state = 'dead'", "m.finished_ms", "DESC"),
    State.SCHEDULED: ("m.state = 'scheduled'", "m.due_ms", "ASC"),
    **{state: (f"m.state = '{state.value}' AND {_ENDED}", "m.finished_ms", "DESC") for state in EXPIRABLE},
}


def _sql(state: State | None) -> str:
    where, key, order = _WHERE.get(state) or (f"m.state = '{state}'", "m.seq", "DESC")
    beyond = ">" if order == "ASC" else "<"
    return f"""
SELECT m.seq, m.id, m.task, m.queue, m.priority, m.state, m.created_ms, m.due_ms, m.finished_ms, m.retries, m.crashes,
       m.error, w.name, {key}
  FROM liteq_messages AS m LEFT JOIN liteq_workers AS w ON w.id = m.worker
 WHERE {where} AND (CAST(:queue AS TEXT) IS NULL OR m.queue = :queue)
   AND (CAST(:task AS TEXT) IS NULL OR replace(m.task, :task, '') <> m.task)
   AND (CAST(:exactly AS TEXT) IS NULL OR m.task = :exactly)
   AND (CAST(:key AS BIGINT) IS NULL OR ({key}, m.seq) {beyond} (:key, :seq))
 ORDER BY {key} {order}, m.seq {order}
 LIMIT :limit OFFSET :offset
"""


PAGES = {state: _sql(state) for state in (None, *State)}


def page(
    tx: Transaction,
    state: State | None,
    *,
    queue: str | None,
    task: str | None,
    after: Mark | None,
    limit: int,
    offset: int = 0,
    exact: bool = False,
) -> list[Line]:
    """Up to `limit` messages in `state` (None: in any) after the line that `after` marks, and `offset` more.

    `task` is a part of the task's name, the whole of it where `exact`. Without it a page costs as many rows as it shows
    and skips; with it, as many as it passes over.
    """
    key, seq = after if after is not None else (None, None)
    params = {
        "queue": queue, "task": None if exact else task, "exactly": task if exact else None, "key": key, "seq": seq,
        "limit": limit, "offset": offset,
    }  # fmt: skip
    return [Line._make(row) for row in tx.execute(PAGES[state], params)]
