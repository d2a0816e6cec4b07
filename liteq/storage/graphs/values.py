"""The values of channels: how they are written and read, a list over the one of before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from liteq.storage.driver import Transaction
from liteq.storage.graphs import blobs as _blobs
from liteq.storage.graphs.records import EMPTY, LIST, Blob, Gone, Value, hashes_of

__all__ = ["REBASE", "alone", "delete", "find", "needed", "write"]

REBASE = 64  # versions, after which a list stands by itself again: a reader follows no more of them
DEPTH = "SELECT depth FROM liteq_graph_values WHERE thread = ? AND ns = ? AND channel = ? AND version = ?"
INSERT = """
INSERT INTO liteq_graph_values (thread, ns, channel, version, base, keep, depth, form, data)
VALUES (:thread, :ns, :channel, :version, :base, :keep, :depth, :form, :data)
ON CONFLICT (thread, ns, channel, version) DO NOTHING
"""
REPLACE = """
UPDATE liteq_graph_values SET base = :base, keep = :keep, depth = :depth, form = :form, data = :data
 WHERE thread = :thread AND ns = :ns AND channel = :channel AND version = :version
"""
CHAIN = """
WITH RECURSIVE chain (n, base, keep, form, data) AS (
    SELECT 0, base, keep, form, data FROM liteq_graph_values
     WHERE thread = :thread AND ns = :ns AND channel = :channel AND version = :version
     UNION ALL
    SELECT c.n + 1, v.base, v.keep, v.form, v.data FROM chain AS c JOIN liteq_graph_values AS v
        ON v.thread = :thread AND v.ns = :ns AND v.channel = :channel AND v.version = c.base
     WHERE c.n < 1000)
SELECT base, keep, form, data FROM chain ORDER BY n
"""
OWN = """
SELECT base, keep, form, data FROM liteq_graph_values WHERE thread = ? AND ns = ? AND channel = ? AND version = ?
"""
BUILT_ON = "SELECT version FROM liteq_graph_values WHERE thread = ? AND ns = ? AND channel = ? AND base = ?"
BASES = "SELECT channel, version, base FROM liteq_graph_values WHERE thread = ? AND ns = ?"
DELETE = "DELETE FROM liteq_graph_values WHERE thread = ? AND ns = ? AND channel = ? AND version = ?"


def alone(tx: Transaction, *threads: str) -> None:
    """Keep other transactions from changing these threads until this one has ended, on an engine with several writers.

    Values that no checkpoint names are deleted: the search for them must see each checkpoint that comes meanwhile. And
    a row that is replaced or deleted must give its blobs back only once.
    """
    for thread in sorted(set(threads)):
        tx.in_turn(f"liteq_graphs {thread}")


def write(tx: Transaction, thread: str, ns: str, value: Value, blobs: Mapping[str, Blob]) -> None:
    """Store a value. Raises Gone where that at its base is not there, or not the blobs of it."""
    if value.base == value.version and _is_there(tx, thread, ns, value):
        return
    value, depth = _based(tx, thread, ns, value)
    row = {**value._asdict(), "thread": thread, "ns": ns, "depth": depth}
    if tx.executemany(INSERT, [row]):
        _blobs.add(tx, hashes_of(value.form, value.data), blobs)
        return
    before = _own(tx, thread, ns, value.channel, value.version)
    if before == value:
        return
    _free(tx, thread, ns, value.channel, value.version)
    _blobs.add(tx, hashes_of(value.form, value.data), blobs)
    tx.executemany(REPLACE, [row])
    _blobs.release(tx, hashes_of(before.form, before.data))


def _is_there(tx: Transaction, thread: str, ns: str, value: Value) -> bool:
    """Whether a list that is put again at its version is the one that stands there."""
    found = find(tx, thread, ns, value.channel, value.version)
    return found is not None and not value.data and len(hashes_of(found.form, found.data)) == value.keep


def _based(tx: Transaction, thread: str, ns: str, value: Value) -> tuple[Value, int]:
    """`value` and how many others it is built on; by itself, where that would be too many."""
    if value.base is None:
        return value, 0
    for (depth,) in tx.execute(DEPTH, (thread, ns, value.channel, value.base)):
        if depth + 1 < REBASE and value.base != value.version:
            return value, depth + 1
        kept = find(tx, thread, ns, value.channel, value.base)
        assert kept is not None
        data = b"".join(hash_.encode() for hash_ in hashes_of(kept.form, kept.data)[: value.keep])
        return value._replace(data=data + value.data, base=None, keep=0), 0
    raise Gone(value.base)


def _own(tx: Transaction, thread: str, ns: str, channel: str, version: str) -> Value:
    ((base, keep, form, data),) = tx.execute(OWN, (thread, ns, channel, version))
    return Value(channel, version, form, bytes(data), base, keep)


def _free(tx: Transaction, thread: str, ns: str, channel: str, version: str) -> None:
    """Let what is built on a version stand by itself: it is about to change."""
    for (other,) in tx.execute(BUILT_ON, (thread, ns, channel, version)):
        before = _own(tx, thread, ns, channel, other)
        whole = find(tx, thread, ns, channel, other)
        assert whole is not None
        _blobs.add(tx, hashes_of(whole.form, whole.data), {})
        tx.executemany(REPLACE, [{**whole._asdict(), "thread": thread, "ns": ns, "depth": 0}])
        _blobs.release(tx, hashes_of(before.form, before.data))


def find(tx: Transaction, thread: str, ns: str, channel: str, version: str) -> Value | None:
    """The value of a channel at a version, a list with the hashes of all of its elements; None: there is none."""
    rows = tx.execute(CHAIN, {"thread": thread, "ns": ns, "channel": channel, "version": version})
    if not rows:
        return None
    form = rows[0][2]
    if form != LIST:
        return Value(channel, version, form, bytes(rows[0][3]))
    hashes: list[str] = []
    for _, keep, one, data in reversed(rows):
        hashes = hashes[:keep] + hashes_of(one, bytes(data))
    return Value(channel, version, LIST, "".join(hashes).encode())


def needed(tx: Transaction, thread: str, ns: str, named: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The values (channel, version) of a namespace that neither `named` ones are nor are built on."""
    bases = {(channel, version): base for channel, version, base in tx.execute(BASES, (thread, ns))}
    stay: set[tuple[str, str]] = set()
    for one in named:
        channel, version = one
        while (channel, version) in bases and (channel, version) not in stay:
            stay.add((channel, version))
            version = bases[channel, version] or EMPTY
    return sorted(bases.keys() - stay)


def delete(tx: Transaction, thread: str, ns: str, these: Iterable[tuple[str, str]]) -> None:
    """Delete values (channel, version), with the blobs that they alone name."""
    hashes: list[str] = []
    for channel, version in these:
        key = (thread, ns, channel, version)
        for _, _, form, data in tx.execute(OWN, key):
            tx.executemany(DELETE, [key])
            hashes += hashes_of(form, bytes(data))
    _blobs.release(tx, hashes)
