"""The items of LangGraph's store: JSON under a namespace and a key, which may have a time to live."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Item", "delete", "expire", "get", "prefixes", "put", "search", "touch"]

COLUMNS = "prefix, key, value, vector, created_ms, updated_ms, ttl_ms, expires_ms"
LIVES = "(expires_ms IS NULL OR expires_ms > :now_ms)"
PUT = """
INSERT INTO liteq_graph_items (prefix, key, value, vector, created_ms, updated_ms, ttl_ms, expires_ms)
VALUES (:prefix, :key, :value, :vector, :now_ms, :now_ms, :ttl_ms, :expires_ms)
ON CONFLICT (prefix, key) DO UPDATE
   SET value = excluded.value, vector = excluded.vector, updated_ms = excluded.updated_ms, ttl_ms = excluded.ttl_ms,
       expires_ms = excluded.expires_ms
"""
GET = f"SELECT {COLUMNS} FROM liteq_graph_items WHERE prefix = :prefix AND key = :key AND {LIVES}"
# Of a namespace and of all below it: the letter behind the separator ends the range.
SEARCH = f"""
SELECT {COLUMNS} FROM liteq_graph_items
 WHERE (prefix = :prefix OR (prefix > :first AND prefix < :last)) AND {LIVES} ORDER BY updated_ms DESC, prefix, key
 LIMIT :limit
"""
SEARCH_ALL = f"""
SELECT {COLUMNS} FROM liteq_graph_items WHERE {LIVES} ORDER BY updated_ms DESC, prefix, key LIMIT :limit
"""
PREFIXES = f"SELECT DISTINCT prefix FROM liteq_graph_items WHERE {LIVES} ORDER BY prefix"
DELETE = "DELETE FROM liteq_graph_items WHERE prefix = ? AND key = ?"
TOUCH = "UPDATE liteq_graph_items SET expires_ms = ? + ttl_ms WHERE prefix = ? AND key = ? AND ttl_ms IS NOT NULL"
EXPIRE = f"""
DELETE FROM liteq_graph_items WHERE (prefix, key) IN (
    SELECT prefix, key FROM liteq_graph_items WHERE expires_ms IS NOT NULL AND expires_ms <= :now_ms LIMIT :limit
    {SKIP_LOCKED})
"""
MOST = 1 << 62


class Item(NamedTuple):
    """An item. `prefix`: its namespace; `vector`: what an embedding made of it; `ttl_ms`: from its last read on."""

    prefix: str
    key: str
    value: bytes
    vector: bytes | None
    created_ms: int
    updated_ms: int
    ttl_ms: int | None
    expires_ms: int | None


def _made(row: Sequence[object]) -> Item:
    prefix, key, value, vector, *times = row
    return Item(prefix, key, bytes(value), None if vector is None else bytes(vector), *times)  # type: ignore[arg-type, call-overload]


def put(
    tx: Transaction, prefix: str, key: str, value: bytes, vector: bytes | None, *, ttl_ms: int | None, now_ms: int
) -> None:
    """Store an item, which replaces that of before."""
    row = {"prefix": prefix, "key": key, "value": value, "vector": vector, "now_ms": now_ms, "ttl_ms": ttl_ms}
    tx.executemany(PUT, [{**row, "expires_ms": None if ttl_ms is None else now_ms + ttl_ms}])


def get(tx: Transaction, prefix: str, key: str, *, now_ms: int) -> Item | None:
    """An item; None where there is none, or its time is over."""
    for row in tx.execute(GET, {"prefix": prefix, "key": key, "now_ms": now_ms}):
        return _made(row)
    return None


def search(tx: Transaction, prefix: str, *, first: str, last: str, now_ms: int, limit: int | None = None) -> list[Item]:
    """The items of a namespace and of those between `first` and `last`, the newest first; of "": all."""
    given: dict[str, object] = {"now_ms": now_ms, "limit": MOST if limit is None else limit}
    if not prefix:
        return [_made(row) for row in tx.execute(SEARCH_ALL, given)]
    return [_made(row) for row in tx.execute(SEARCH, {**given, "prefix": prefix, "first": first, "last": last})]


def prefixes(tx: Transaction, *, now_ms: int) -> list[str]:
    """All namespaces that have an item."""
    return [prefix for (prefix,) in tx.execute(PREFIXES, {"now_ms": now_ms})]


def delete(tx: Transaction, prefix: str, key: str) -> None:
    """Delete an item, if it is there."""
    tx.executemany(DELETE, [(prefix, key)])


def touch(tx: Transaction, these: Sequence[tuple[str, str]], *, now_ms: int) -> None:
    """Have the time to live of items begin anew."""
    tx.executemany(TOUCH, [(now_ms, prefix, key) for prefix, key in these])


def expire(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Delete up to `limit` items whose time is over; how many."""
    return tx.executemany(EXPIRE, [{"now_ms": now_ms, "limit": limit}])
