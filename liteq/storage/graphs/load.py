"""Checkpoints as they are read: one with all that it holds, and the places of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from liteq.storage.driver import Transaction
from liteq.storage.graphs import blobs as _blobs
from liteq.storage.graphs import values as _values
from liteq.storage.graphs.records import EMPTY, Checkpoint, Key, Loaded, Value, Write, hashes_of

__all__ = ["branch", "find", "keys", "load", "writes"]

COLUMNS = "thread, ns, id, parent, run, versions, form, body"
FIND = f"SELECT {COLUMNS} FROM liteq_graph_checkpoints WHERE thread = ? AND ns = ? AND id = ?"
LATEST = f"""
SELECT {COLUMNS} FROM liteq_graph_checkpoints WHERE thread = ? AND ns = ? ORDER BY id DESC LIMIT 1
"""
WRITES = """
SELECT task, idx, path, channel, form, data FROM liteq_graph_writes WHERE thread = ? AND ns = ? AND id = ?
 ORDER BY path, task, idx
"""
KEYS = """
SELECT thread, ns, id FROM liteq_graph_checkpoints
 WHERE (CAST(:thread AS TEXT) IS NULL OR thread = :thread) AND (CAST(:ns AS TEXT) IS NULL OR ns = :ns)
   AND (CAST(:id AS TEXT) IS NULL OR id = :id) AND (CAST(:before AS TEXT) IS NULL OR id < :before)
 ORDER BY id DESC, thread, ns LIMIT :limit
"""
KEYS_OF_A_THREAD = """
SELECT thread, ns, id FROM liteq_graph_checkpoints
 WHERE thread = :thread AND (CAST(:ns AS TEXT) IS NULL OR ns = :ns)
   AND (CAST(:id AS TEXT) IS NULL OR id = :id) AND (CAST(:before AS TEXT) IS NULL OR id < :before)
 ORDER BY id DESC, ns LIMIT :limit
"""
MOST = 1 << 62


def find(tx: Transaction, thread: str, ns: str, id_: str | None) -> Checkpoint | None:
    """The checkpoint `id_` of a namespace, None: its latest; None where there is none."""
    rows = tx.execute(LATEST, (thread, ns)) if id_ is None else tx.execute(FIND, (thread, ns, id_))
    for _, _, found, parent, run, versions, form, body in rows:
        return Checkpoint(thread, ns, found, parent, run, bytes(versions), form, bytes(body))
    return None


def writes(tx: Transaction, key: Key) -> list[Write]:
    """The pending writes of a checkpoint, in the order in which they are applied."""
    return [
        Write(task, idx, path, channel, form, bytes(data))
        for task, idx, path, channel, form, data in tx.execute(WRITES, key)
    ]


def load(tx: Transaction, thread: str, ns: str, id_: str | None) -> Loaded | None:
    """A checkpoint with its values and pending writes; `id_` as of `find`."""
    one = find(tx, thread, ns, id_)
    if one is None:
        return None
    values: dict[str, Value] = {}
    for channel, version in orjson.loads(one.versions).items():
        value = _values.find(tx, thread, ns, channel, str(version))
        if value is not None and value.form != EMPTY:
            values[channel] = value
    pending = writes(tx, one.key)
    return Loaded(one, values, pending, _blobs.fetch(tx, _named(values, pending)))


def _named(values: Mapping[str, Value], pending: Sequence[Write]) -> list[str]:
    """The hashes in values and writes."""
    rows = [(one.form, one.data) for one in values.values()] + [(one.form, one.data) for one in pending]
    return [hash_ for row in rows for hash_ in hashes_of(*row)]


def keys(
    tx: Transaction, *, thread: str | None, ns: str | None, id_: str | None, before: str | None, limit: int | None
) -> list[Key]:
    """The places of checkpoints, the newest first; None: of any thread, namespace, id."""
    sql = KEYS if thread is None else KEYS_OF_A_THREAD
    given: dict[str, object] = {"thread": thread, "ns": ns, "id": id_, "before": before}
    return [Key._make(row) for row in tx.execute(sql, {**given, "limit": MOST if limit is None else limit})]


def branch(tx: Transaction, thread: str, ns: str, id_: str | None, channels: Sequence[str]) -> list[Loaded]:
    """The ancestors of a checkpoint, the nearest first, as far as one of `channels` has no value yet.

    Each holds the values of `channels` alone, and the writes to them.
    """
    one = find(tx, thread, ns, id_)
    missing, seen, found = set(channels), {""}, []
    while one is not None and missing and one.parent is not None and one.id not in seen:
        seen.add(one.id)
        one = find(tx, thread, ns, one.parent)
        if one is None:
            break
        versions = orjson.loads(one.versions)
        values = {}
        for channel in sorted(missing & versions.keys()):
            value = _values.find(tx, thread, ns, channel, str(versions[channel]))
            if value is not None and value.form != EMPTY:
                values[channel] = value
        pending = [write for write in writes(tx, one.key) if write.channel in missing]
        found.append(Loaded(one, values, pending, _blobs.fetch(tx, _named(values, pending))))
        missing -= values.keys()
    return found
