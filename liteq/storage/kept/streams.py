"""Streams: the chunks that a task or a run shows while it runs. Written under its lease, seen by others at once.

Both have one table. A chunk of a task has no step: its place is AT_NO_STEP.
"""

from __future__ import annotations

from collections.abc import Sequence

from liteq.exceptions import LeaseLost
from liteq.message import Flag
from liteq.states import FINISHED, State
from liteq.storage.driver import LOCK, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Chunk", "Place", "chunks", "emit", "emit_under", "names"]

Place = tuple[int, str, int]
"""Of chunks of a run: the generation, the scope and the position of the step that emits them."""

AT_NO_STEP: Place = (0, "", 0)

LAST = "SELECT coalesce(max(n), 0) FROM liteq_stream WHERE run = ? AND stream = ?"
LAST_ATTEMPT = """
SELECT coalesce(max(attempt), 0) FROM liteq_stream
 WHERE run = ? AND stream = ? AND gen = ? AND scope = ? AND pos = ?
"""
EMIT = "INSERT INTO liteq_stream (run, stream, n, gen, scope, pos, attempt, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
CHUNKS = "SELECT n, attempt, data FROM liteq_stream WHERE run = ? AND stream = ? AND n > ? ORDER BY n LIMIT ?"
NEXT_NAME = "SELECT min(stream) FROM liteq_stream WHERE run = ? AND stream > ?"
OWNER = "SELECT seq, state FROM liteq_messages WHERE id = ?"
HELD = f"SELECT flags FROM liteq_messages WHERE seq = ? AND state = 'leased' AND token = ? {LOCK}"
MARK = f"UPDATE liteq_messages SET flags = flags | {Flag.EMITS} WHERE seq = ?"


class Chunk(NamedTuple):
    """One element of a stream. `attempt` goes up when the task, or the step, that emitted it is repeated."""

    offset: int
    attempt: int
    data: bytes


def emit(tx: Transaction, seq: int, stream: str, place: Place, data: Sequence[bytes], attempt: int | None) -> int:
    """Add chunks to a stream of the row `seq`; the attempt that they bear. The lease is the caller's to check.

    `attempt`: None at the first chunks of an execution: one more than the last of its place in this stream.
    """
    if attempt is None:
        attempt = int(tx.execute(LAST_ATTEMPT, (seq, stream, *place))[0][0]) + 1
    n = int(tx.execute(LAST, (seq, stream))[0][0])
    tx.executemany(EMIT, [(seq, stream, n + i, *place, attempt, chunk) for i, chunk in enumerate(data, 1)])
    return attempt


def emit_under(tx: Transaction, seq: int, token: int, stream: str, data: Sequence[bytes], attempt: int | None) -> int:
    """As `emit`, of a task that runs under the lease (`seq`, `token`). Raises LeaseLost."""
    for (flags,) in tx.execute(HELD, (seq, token)):
        if not flags & Flag.EMITS:
            tx.execute(MARK, (seq,))
        return emit(tx, seq, stream, AT_NO_STEP, data, attempt)
    raise LeaseLost(f"message {seq}")


def chunks(tx: Transaction, id_: str, stream: str, *, after: int, limit: int) -> tuple[list[Chunk], bool]:
    """The chunks behind `after`, and whether the task or run has ended; of an unknown id it has."""
    for seq, state in tx.execute(OWNER, (id_,)):
        found = [Chunk._make(row) for row in tx.execute(CHUNKS, (seq, stream, after, limit))]
        return found, State(state) in FINISHED and len(found) < limit
    return [], True


def names(tx: Transaction, id_: str, *, limit: int) -> list[tuple[str, int]]:
    """The names of the streams of a task or run, `limit` at most, each with the number of its last chunk."""
    found: list[tuple[str, int]] = []
    for seq, _ in tx.execute(OWNER, (id_,)):
        name = ""
        while len(found) < limit:
            name = tx.execute(NEXT_NAME, (seq, name))[0][0]
            if name is None:
                break
            found.append((name, int(tx.execute(LAST, (seq, name))[0][0])))
    return found
