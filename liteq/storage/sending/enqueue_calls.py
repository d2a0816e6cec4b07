"""The verb *enqueue* for plain calls: rows that differ in nothing but their task, their arguments and their time.

Nearly all calls are plain ones. Their statements name the columns that such a row needs; the others have no value in
it. Of many, a statement takes as many rows as pay: SQLite spends half the time on starting one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

from liteq.states import State
from liteq.storage.driver import AT_ONCE, Bell, Driver, Row, Transaction

__all__ = ["Calls", "Kind", "enqueue_call", "enqueue_calls", "rows_of"]

Kind = tuple[str, str, int, int]
"""The task, queue, priority and flags of a plain call: the part of its row that is the same for each of a task's."""

Calls = tuple[Kind, Sequence[str], Sequence[bytes]]
"""Plain calls of one task: their kind, their ids, and their arguments."""

ROWS: Final = 50  # of one statement; more of them win nothing

_INTO = """
INSERT INTO liteq_messages (task, queue, priority, flags, state, due_ms, created_ms, position, id, payload)
VALUES """
_VALUES = f"(?, ?, ?, ?, '{State.PENDING.value}', ?, ?, 0, ?, ?)"
_UNLESS_THERE = f"\nON CONFLICT DO NOTHING {AT_ONCE}"

# Values that all rows share are bound anew for each row: not every library takes numbered parameters.
CALL = _INTO + _VALUES + _UNLESS_THERE
CALLS = _INTO + ",\n       ".join([_VALUES] * ROWS) + _UNLESS_THERE


def enqueue_call(driver: Driver, id_: str, kind: Kind, payload: bytes, *, now_ms: int) -> bool:
    """Write one call; False where a row of this id is there."""
    return driver.change(CALL, (*kind, now_ms, now_ms, id_, payload), bell=Bell.WORK) == 1


def rows_of(calls: Sequence[Calls], *, now_ms: int, apart: bool = False) -> list[tuple[str, list[Row]]]:
    """Statements with their parameters, which write `calls` in their order.

    `apart`: a row each, for an engine that does all rows of a statement at once by itself.
    """
    found: list[tuple[str, list[Row]]] = []
    for kind, ids, payloads in calls:
        same = [repeat(value) for value in (*kind, now_ms, now_ms)]
        whole = 0 if apart else len(ids) - len(ids) % ROWS
        blocks = ((ids[at : at + ROWS], payloads[at : at + ROWS]) for at in range(0, whole, ROWS))
        found += [
            (CALLS, [tuple(chain.from_iterable(zip(*same, *block, strict=False))) for block in blocks]),
            (CALL, [*zip(*same, ids[whole:], payloads[whole:], strict=False)]),
        ]
    return [(sql, rows) for sql, rows in found if rows]


def enqueue_calls(tx: Transaction, rows: Sequence[tuple[str, Sequence[Row]]]) -> int:
    """Write what `rows_of` has made; the number of rows written, which are all where the ids were made now."""
    return sum(tx.executemany(sql, params) for sql, params in rows)
