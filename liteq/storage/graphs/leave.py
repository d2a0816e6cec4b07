"""Checkpoints that leave: whole threads, those of runs, all but the latest. And a thread that is copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import orjson

from liteq.storage.driver import Transaction
from liteq.storage.graphs import blobs as _blobs
from liteq.storage.graphs import load as _load
from liteq.storage.graphs import values as _values
from liteq.storage.graphs.records import Key, hashes_of

__all__ = ["copy", "delete_for_runs", "delete_thread", "lost", "namespaces", "prune"]

HAS = "SELECT 1 FROM liteq_graph_checkpoints WHERE thread = ? LIMIT 1"
NAMESPACES = """
SELECT ns FROM liteq_graph_checkpoints WHERE thread = :thread
UNION SELECT ns FROM liteq_graph_writes WHERE thread = :thread
UNION SELECT ns FROM liteq_graph_values WHERE thread = :thread
"""
OF_RUN = "SELECT thread, ns, id FROM liteq_graph_checkpoints WHERE run = ?"
DELETE = "DELETE FROM liteq_graph_checkpoints WHERE thread = ? AND ns = ? AND id = ?"
DELETE_ALL = "DELETE FROM liteq_graph_checkpoints WHERE thread = ?"
SOME_WRITES = "SELECT ns, id, task, idx, form, data FROM liteq_graph_writes WHERE thread = ? LIMIT ?"
DELETE_WRITE = "DELETE FROM liteq_graph_writes WHERE thread = ? AND ns = ? AND id = ? AND task = ? AND idx = ?"
SOME_VALUES = "SELECT ns, channel, version FROM liteq_graph_values WHERE thread = ? LIMIT ?"
VERSIONS = "SELECT versions FROM liteq_graph_checkpoints WHERE thread = ? AND ns = ?"
IDS = "SELECT id FROM liteq_graph_checkpoints WHERE thread = ? AND ns = ? ORDER BY id"
ROOT = "UPDATE liteq_graph_checkpoints SET parent = NULL WHERE thread = ? AND ns = ? AND id = ?"
DISOWN = "DELETE FROM liteq_graph_threads WHERE thread = ?"
LOST = "SELECT thread FROM liteq_graph_threads WHERE lost = 1 LIMIT ?"
COPY = """
INSERT INTO liteq_graph_checkpoints (thread, ns, id, parent, run, versions, form, body)
SELECT CAST(:target AS TEXT), ns, id, parent, run, versions, form, body
  FROM liteq_graph_checkpoints WHERE thread = :source
"""
COPY_WRITES = """
INSERT INTO liteq_graph_writes (thread, ns, id, task, idx, path, channel, form, data)
SELECT CAST(:target AS TEXT), ns, id, task, idx, path, channel, form, data FROM liteq_graph_writes
 WHERE thread = :source
"""
COPY_VALUES = """
INSERT INTO liteq_graph_values (thread, ns, channel, version, base, keep, depth, form, data)
SELECT CAST(:target AS TEXT), ns, channel, version, base, keep, depth, form, data FROM liteq_graph_values
 WHERE thread = :source
"""
NAMED = """
SELECT form, data FROM liteq_graph_writes WHERE thread = :thread
UNION ALL SELECT form, data FROM liteq_graph_values WHERE thread = :thread
"""


def _is_there(tx: Transaction, thread: str) -> bool:
    """Whether a thread has a checkpoint."""
    return bool(tx.execute(HAS, (thread,)))


def namespaces(tx: Transaction, thread: str) -> list[str]:
    """The namespaces in which a thread has anything."""
    return sorted(ns for (ns,) in tx.execute(NAMESPACES, {"thread": thread}))


def delete_for_runs(tx: Transaction, runs: Sequence[str]) -> None:
    """Delete the checkpoints that bear one of these run ids, and what nothing needs any more."""
    threads = {key.thread for key in _of_runs(tx, runs)}
    _values.alone(tx, *threads)
    keys = [key for key in _of_runs(tx, runs) if key.thread in threads]
    _delete(tx, keys)
    for thread, ns in sorted({(key.thread, key.ns) for key in keys}):
        _sweep(tx, thread, ns)


def _of_runs(tx: Transaction, runs: Sequence[str]) -> list[Key]:
    return [Key._make(row) for run in runs for row in tx.execute(OF_RUN, (run,))]


def delete_thread(tx: Transaction, thread: str, *, limit: int) -> int:
    """Delete a thread's checkpoints, and up to `limit` of the rows beside them; how many rows."""
    _values.alone(tx, thread)
    gone = tx.executemany(DELETE_ALL, [(thread,)])
    hashes: list[str] = []
    for *place, form, data in tx.execute(SOME_WRITES, (thread, limit)):
        tx.executemany(DELETE_WRITE, [(thread, *place)])
        hashes += hashes_of(form, bytes(data))
        gone += 1
    _blobs.release(tx, hashes)
    if gone < limit:
        by_ns: dict[str, list[tuple[str, str]]] = {}
        for ns, channel, version in tx.execute(SOME_VALUES, (thread, limit)):
            by_ns.setdefault(ns, []).append((channel, version))
            gone += 1
        for ns, these in by_ns.items():
            _values.delete(tx, thread, ns, these)
    return gone + tx.executemany(DISOWN, [(thread,)]) if gone < limit else gone


def _delete(tx: Transaction, keys: Iterable[Key]) -> None:
    """Delete checkpoints with their writes. Their values stay until `_sweep`."""
    for key in keys:
        tx.executemany(DELETE, [key])
        hashes: list[str] = []
        for write in _load.writes(tx, key):
            tx.executemany(DELETE_WRITE, [(*key, write.task, write.idx)])
            hashes += hashes_of(write.form, write.data)
        _blobs.release(tx, hashes)


def _sweep(tx: Transaction, thread: str, ns: str) -> None:
    """Delete the values of a namespace that none of its checkpoints needs."""
    named = {
        (channel, str(version))
        for (versions,) in tx.execute(VERSIONS, (thread, ns))
        for channel, version in orjson.loads(bytes(versions)).items()
    }
    _values.delete(tx, thread, ns, _values.needed(tx, thread, ns, named))


def prune(tx: Transaction, thread: str, ns: str, keep: AbstractSet[str]) -> None:
    """Delete the checkpoints of a namespace before the last of the ids `keep`, and what nothing needs any more."""
    _values.alone(tx, thread)
    ids = [id_ for (id_,) in tx.execute(IDS, (thread, ns))]
    if not keep & set(ids):
        return
    _delete(tx, [Key(thread, ns, id_) for id_ in ids if id_ not in keep and id_ < max(keep)])
    for id_ in keep:
        one = _load.find(tx, thread, ns, id_)
        if one is not None and one.parent is not None and one.parent not in keep:
            tx.executemany(ROOT, [(thread, ns, id_)])
    _sweep(tx, thread, ns)


def copy(tx: Transaction, source: str, target: str) -> None:
    """Copy all of a thread to another one. Raises ValueError where that has checkpoints."""
    _values.alone(tx, source, target)
    if _is_there(tx, target):
        raise ValueError(f"the thread {target!r} has checkpoints: copy to a new one, or delete it first")
    for sql in (COPY, COPY_WRITES, COPY_VALUES):
        tx.executemany(sql, [{"source": source, "target": target}])
    named = tx.execute(NAMED, {"thread": target})
    _blobs.add(tx, [hash_ for form, data in named for hash_ in hashes_of(form, bytes(data))], {})


def lost(tx: Transaction, limit: int) -> list[str]:
    """Threads that were the own ones of runs which are gone; a read."""
    return [thread for (thread,) in tx.execute(LOST, (limit,))]
