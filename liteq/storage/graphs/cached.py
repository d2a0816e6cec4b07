"""The values of LangGraph's cache: rows of the memo, which leave as those of steps do."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.storage.driver import Transaction

__all__ = ["clear", "find", "names", "store"]

FIND = "SELECT output FROM liteq_memo WHERE key = ? AND output IS NOT NULL AND (expires_ms IS NULL OR expires_ms > ?)"
STORE = """
INSERT INTO liteq_memo (key, name, output, run, token, created_ms, expires_ms) VALUES (?, ?, ?, NULL, NULL, ?, ?)
ON CONFLICT (key) DO UPDATE
   SET output = excluded.output, created_ms = excluded.created_ms, expires_ms = excluded.expires_ms
"""
CLEAR = "DELETE FROM liteq_memo WHERE name = ? AND output IS NOT NULL"
NAMES = "SELECT DISTINCT name FROM liteq_memo WHERE name >= ? AND name < ? ORDER BY name"


def find(tx: Transaction, key: str, *, now_ms: int) -> bytes | None:
    """The value under a key; None where there is none, or its time is over."""
    for (output,) in tx.execute(FIND, (key, now_ms)):
        return bytes(output)
    return None


def store(tx: Transaction, key: str, name: str, output: bytes, *, ttl_ms: int | None, now_ms: int) -> None:
    """Keep a value under a key and a name, for so long; None: for ever."""
    tx.executemany(STORE, [(key, name, output, now_ms, None if ttl_ms is None else now_ms + ttl_ms)])


def clear(tx: Transaction, names: Sequence[str]) -> None:
    """Forget all values under these names."""
    tx.executemany(CLEAR, [(name,) for name in names])


def names(tx: Transaction, first: str, last: str) -> list[str]:
    """The names from `first` to before `last` under which there are values."""
    return [name for (name,) in tx.execute(NAMES, (first, last))]
