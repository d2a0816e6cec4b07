"""The rows of one table, a page at a time: read at the source, written at the target, deleted at the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from liteq.storage.driver import Driver, Row, Transaction
from liteq.storage.housekeeping.reseal import VALUES
from liteq.storage.moving.tables import ALL, MESSAGES, MOVED, Moved

__all__ = ["PAGE_BYTES", "PAGE_ROWS", "arrived", "count", "delete", "highest", "insert", "lowest", "pages", "to_delete"]

PAGE_ROWS: Final = 1_000  # of one transaction
PAGE_BYTES: Final = 8 * 1024 * 1024  # ... and of what is in memory, but for a row that is larger by itself


def _names(names: Sequence[str], before: str = "") -> str:
    return ", ".join(f"{before}{name}" for name in names)


def _size(table: str) -> str:
    large = VALUES[table].columns if table in VALUES else ()
    return " + ".join(f"coalesce(length(t.{name}), 0)" for name in large) or "0"


def _insert(table: str, one: Moved) -> str:
    columns = one.all_columns
    clause = "ON CONFLICT DO NOTHING"  # it came before the move was stopped
    if not one.number and one.columns:
        new = ", ".join(f"{name} = excluded.{name}" for name in one.columns)
        clause = f"ON CONFLICT ({_names(one.key)}) DO UPDATE SET {new}"
    return f"INSERT INTO {table} ({_names(columns)}) VALUES ({', '.join('?' * len(columns))}) {clause}"


def _keys(table: str, one: Moved, which: str, more: str = "") -> str:
    """The keys of the first rows, or of those after a key."""
    after = f" AND ({_names(one.key, 't.')}) > ({_names(one.key, ':')})" if more else ""
    return (
        f"SELECT {_names(one.key, 't.')}, {_size(table)} FROM {table} AS t WHERE {which}{after} "
        f"ORDER BY {_names(one.key, 't.')} LIMIT :limit"
    )


def _above(one: Moved) -> str:
    """Of a row at the target: whether it came with this move."""
    return f"t.{one.number} >= :above" if one.number else ALL


FIRST = {table: _keys(table, one, one.which) for table, one in MOVED.items()}
NEXT = {table: _keys(table, one, one.which, "more") for table, one in MOVED.items()}
FIRST_CAME = {table: _keys(table, one, _above(one)) for table, one in MOVED.items()}
NEXT_CAME = {table: _keys(table, one, _above(one), "more") for table, one in MOVED.items()}
READ = {
    table: f"SELECT {_names(one.all_columns, 't.')} FROM {table} AS t WHERE {one.which} "
    f"AND ({_names(one.key, 't.')}) >= ({_names(one.key, ':from_')}) "
    f"AND ({_names(one.key, 't.')}) <= ({_names(one.key, ':to_')}) ORDER BY {_names(one.key, 't.')}"
    for table, one in MOVED.items()
}
COUNT = {table: f"SELECT count(*) FROM {table} AS t WHERE {one.which}" for table, one in MOVED.items()}
CAME = {table: f"SELECT count(*) FROM {table} AS t WHERE {_above(one)}" for table, one in MOVED.items()}
HIGHEST = {table: f"SELECT coalesce(max({one.number}), 0) FROM {table}" for table, one in MOVED.items() if one.number}
LOWEST = {table: f"SELECT coalesce(min({one.number}), 1) FROM {table}" for table, one in MOVED.items() if one.number}
INSERT = {table: _insert(table, one) for table, one in MOVED.items()}
DELETE = {
    table: f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in one.key)}"
    for table, one in MOVED.items()
}
# Messages that have ended at the target, and whose ids have come back.
MAKE_ROOM = "DELETE FROM liteq_messages WHERE id = ? AND seq < ?"


def count(tx: Transaction, table: str) -> int:
    """How many rows of `table` are to go."""
    return int(tx.execute(COUNT[table])[0][0])


def arrived(tx: Transaction, table: str, shift: int) -> int:
    """How many rows of a numbered table have come to the target with this move."""
    one = MOVED[table]
    return int(tx.execute(CAME[table], {"above": (shift + 1) * one.factor} if one.number else {})[0][0])


def highest(tx: Transaction, table: str) -> int:
    """The highest number in a table that has one; 0 where it is empty."""
    return int(tx.execute(HIGHEST[table])[0][0])


def lowest(tx: Transaction, table: str) -> int:
    """The lowest number in a table that has one; 1 where it is empty. An event that was put back has one below 1."""
    return int(tx.execute(LOWEST[table])[0][0])


def pages(driver: Driver, table: str, after: Row | None = None) -> Iterator[list[Row]]:
    """The rows that are to go, in the order of their keys, after the key `after`; a page is read when it is asked for.

    Nothing else may change the table meanwhile.
    """
    one = MOVED[table]
    while True:
        with driver.read() as tx:
            keys = _some(tx, FIRST[table] if after is None else NEXT[table], one, after, {})
            if not keys:
                return
            after = keys[-1]
            bounds = {f"from_{name}": value for name, value in zip(one.key, keys[0], strict=True)}
            bounds |= {f"to_{name}": value for name, value in zip(one.key, after, strict=True)}
            found = tx.execute(READ[table], bounds)
        yield found


def to_delete(source: Driver, target: Driver, table: str, shift: int) -> Iterator[list[Row]]:
    """The keys at the source of the rows that have come to the target, a page at a time.

    Of a table that goes as a whole, those that are there: the next page is read when the one before is deleted.
    """
    one = MOVED[table]
    if one.which == ALL:
        while True:
            with source.read(alone=True) as tx:
                keys = _some(tx, FIRST[table], one, None, {})
            if not keys:
                return
            yield keys
    after: Row | None = None
    above = {"above": (shift + 1) * one.factor} if one.number else {}
    while True:
        with target.read(alone=True) as tx:
            keys = _some(tx, FIRST_CAME[table] if after is None else NEXT_CAME[table], one, after, above)
        if not keys:
            return
        after = keys[-1]
        yield [one.shifted(key, -shift) for key in keys]


def _some(tx: Transaction, sql: str, one: Moved, after: Row | None, params: dict[str, Any]) -> list[Row]:
    """The next keys, of rows that are together no larger than a page."""
    start = {} if after is None else dict(zip(one.key, after, strict=True))
    keys: list[Row] = []
    size = 0
    for *key, bytes_ in tx.execute(sql, {**params, **start, "limit": PAGE_ROWS}):
        size += bytes_
        if keys and size > PAGE_BYTES:
            break
        keys.append(tuple(key))
    return keys


def insert(tx: Transaction, table: str, found: Sequence[Row], shift: int) -> None:
    """Write rows of the source; those that have come before stay."""
    one = MOVED[table]
    if table == MESSAGES and shift:
        tx.executemany(MAKE_ROOM, [(row[1], shift + 1) for row in found])
    tx.executemany(INSERT[table], [one.shifted(row, shift) for row in found])


def delete(tx: Transaction, table: str, keys: Sequence[Row]) -> int:
    """Delete rows by their keys; how many were there."""
    return tx.executemany(DELETE[table], keys)
