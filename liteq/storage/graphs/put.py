"""Checkpoints and pending writes as they are stored; inside a run, under its lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.message import Hold
from liteq.storage.driver import Transaction
from liteq.storage.graphs import blobs as _blobs
from liteq.storage.graphs import values as _values
from liteq.storage.graphs.records import Blob, Checkpoint, Key, Value, Write, hashes_of

__all__ = ["own", "progressed", "put", "put_writes"]

PUT = """
INSERT INTO liteq_graph_checkpoints (thread, ns, id, parent, run, versions, form, body)
VALUES (:thread, :ns, :id, :parent, :run, :versions, :form, :body)
ON CONFLICT (thread, ns, id) DO UPDATE
   SET parent = excluded.parent, run = excluded.run, versions = excluded.versions, form = excluded.form,
       body = excluded.body
"""
WRITE = """
INSERT INTO liteq_graph_writes (thread, ns, id, task, idx, path, channel, form, data)
VALUES (:thread, :ns, :id, :task, :idx, :path, :channel, :form, :data)
ON CONFLICT (thread, ns, id, task, idx) DO NOTHING
"""
WRITTEN = """
SELECT form, data FROM liteq_graph_writes WHERE thread = ? AND ns = ? AND id = ? AND task = ? AND idx = ?
"""
WRITE_AGAIN = """
UPDATE liteq_graph_writes SET path = :path, channel = :channel, form = :form, data = :data
 WHERE thread = :thread AND ns = :ns AND id = :id AND task = :task AND idx = :idx
"""
OWN = "INSERT INTO liteq_graph_threads (run, thread, lost) VALUES (?, ?, 0) ON CONFLICT DO NOTHING"
# The length of a history is never that: the next crash finds that the run has gone on since the one before.
PROGRESSED = "UPDATE liteq_runs SET crash_mark = -1 WHERE run = ? AND crash_mark <> -1"


def put(tx: Transaction, checkpoint: Checkpoint, values: Sequence[Value], blobs: Mapping[str, Blob]) -> None:
    """Store a checkpoint and the values that are new in it. Raises records.Gone: one is to be written whole."""
    _values.alone(tx, checkpoint.thread)
    for value in values:
        _values.write(tx, checkpoint.thread, checkpoint.ns, value, blobs)
    tx.executemany(PUT, [checkpoint._asdict()])


def put_writes(tx: Transaction, key: Key, writes: Sequence[Write], blobs: Mapping[str, Blob]) -> None:
    """Store a task's writes. A special one (its number is negative) replaces that of before, any other stays."""
    _values.alone(tx, key.thread)
    for write in writes:
        row = {**key._asdict(), **write._asdict()}
        if tx.executemany(WRITE, [row]):
            _blobs.add(tx, hashes_of(write.form, write.data), blobs)
        elif write.idx < 0:
            ((form, data),) = tx.execute(WRITTEN, (*key, write.task, write.idx))
            _blobs.add(tx, hashes_of(write.form, write.data), blobs)
            tx.executemany(WRITE_AGAIN, [row])
            _blobs.release(tx, hashes_of(form, bytes(data)))


def own(tx: Transaction, run: int, thread: str) -> None:
    """Note that a thread is a run's own: it leaves with the run."""
    tx.executemany(OWN, [(run, thread)])


def progressed(tx: Transaction, hold: Hold) -> None:
    """Have a run's crashes counted anew from here on."""
    tx.executemany(PROGRESSED, [(hold.run,)])
