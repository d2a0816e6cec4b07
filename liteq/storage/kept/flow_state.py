"""The memory of flows from run to run (`state.get`, `state.set`): values by scope and key, each with a version."""

from __future__ import annotations

from typing import Protocol

from liteq.utils.records import NamedTuple

__all__ = ["Kept", "Rows", "delete", "find", "listed", "put"]

FIND = "SELECT value, version, updated_ms FROM liteq_flow_state WHERE scope = ? AND key = ?"
PUT = """
INSERT INTO liteq_flow_state (scope, key, value, version, updated_ms) VALUES (?, ?, ?, 1, ?)
ON CONFLICT (scope, key) DO UPDATE
   SET value = excluded.value, version = liteq_flow_state.version + 1, updated_ms = excluded.updated_ms
"""
DELETE = "DELETE FROM liteq_flow_state WHERE scope = ? AND key = ?"
LIST = """
SELECT key, value, version, updated_ms FROM liteq_flow_state
 WHERE scope = ? AND substr(key, 1, ?) = ? ORDER BY key LIMIT ?
"""
MOST = 10_000  # of one list


class Rows(Protocol):
    """A transaction, of the storage or of a step."""

    def execute(self, sql: str, params: tuple[object, ...] = (), /) -> list[tuple[object, ...]]:
        """The rows of a statement."""


class Kept(NamedTuple):
    """One value: its JSON, its version from 1, and when it was set."""

    key: str
    value: bytes
    version: int
    updated_ms: int


def find(tx: Rows, scope: str, key: str) -> Kept | None:
    """The value of `key` in `scope`; None where there is none."""
    for value, version, updated_ms in tx.execute(FIND, (scope, key)):
        return Kept(key, bytes(value), int(version), int(updated_ms))  # type: ignore[call-overload]
    return None


def put(tx: Rows, scope: str, key: str, value: bytes, *, now_ms: int) -> None:
    """Set a value: its version is one more."""
    tx.execute(PUT, (scope, key, value, now_ms))


def delete(tx: Rows, scope: str, key: str) -> None:
    """Delete a value, where there is one."""
    tx.execute(DELETE, (scope, key))


def listed(tx: Rows, scope: str, prefix: str, limit: int) -> list[Kept]:
    """The values whose key begins with `prefix`, by key; `limit` 0: up to MOST."""
    rows = tx.execute(LIST, (scope, len(prefix), prefix, limit or MOST))
    return [Kept(str(key), bytes(value), int(version), int(ms)) for key, value, version, ms in rows]  # type: ignore[call-overload]
