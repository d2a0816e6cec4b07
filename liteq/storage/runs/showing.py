"""The signs of a run while it runs: values, tags, streams. Written under its lease, seen by others at once."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag, Hold, StepRow
from liteq.states import FINISHED, State
from liteq.storage.driver import Bell, Driver, Promise, Transaction
from liteq.storage.runs.records import Chunk
from liteq.storage.steps.rows import UNDER_HOLD

__all__ = ["chunks", "emit", "inbox", "set_value", "state", "streams", "tag_under"]

SET = f"""
INSERT INTO liteq_run_state (run, key, value) SELECT seq, ?, ? FROM liteq_messages WHERE {UNDER_HOLD}
ON CONFLICT (run, key) DO UPDATE SET value = excluded.value
"""
TAG = f"""
INSERT INTO liteq_run_tags (tag, run) SELECT ?, seq FROM liteq_messages WHERE {UNDER_HOLD}
ON CONFLICT (tag, run) DO UPDATE SET run = excluded.run
"""
STATE = """
SELECT s.key, s.value FROM liteq_messages AS m JOIN liteq_run_state AS s ON s.run = m.seq WHERE m.id = ? ORDER BY s.key
"""
LAST = "SELECT coalesce(max(n), 0) FROM liteq_stream WHERE run = ? AND stream = ?"
LAST_ATTEMPT = """
SELECT coalesce(max(attempt), 0) FROM liteq_stream
 WHERE run = ? AND stream = ? AND gen = ? AND scope = ? AND pos = ?
"""
EMIT = "INSERT INTO liteq_stream (run, stream, n, gen, scope, pos, attempt, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
CHUNKS = "SELECT n, attempt, data FROM liteq_stream WHERE run = ? AND stream = ? AND n > ? ORDER BY n LIMIT ?"
NEXT_STREAM = "SELECT min(stream) FROM liteq_stream WHERE run = ? AND stream > ?"
INBOX = """
SELECT name, created_ms FROM liteq_inbox WHERE run_id = ? AND taken = 0 ORDER BY name, id LIMIT ?
"""
RUN = f"SELECT seq, state FROM liteq_messages WHERE id = ? AND flags & {Flag.RUN} <> 0"


def set_value(driver: Driver, hold: Hold, key: str, value: bytes) -> bool:
    """Store a value; False where the lease is over."""
    return driver.change(SET, (key, value, hold.run, hold.token), Promise.PROGRESS, Bell.DONE) == 1


def tag_under(driver: Driver, hold: Hold, tag: str) -> bool:
    """Add a tag; False where the lease is over."""
    return driver.change(TAG, (tag, hold.run, hold.token), Promise.PROGRESS) == 1


def emit(tx: Transaction, hold: Hold, stream: str, step: StepRow, data: Sequence[bytes], attempt: int | None) -> int:
    """Add chunks to a stream; the attempt that they bear. The lease is the caller's to check."""
    if attempt is None:
        place = (hold.run, stream, hold.gen, step.scope, step.pos)
        attempt = int(tx.execute(LAST_ATTEMPT, place)[0][0]) + 1
    n = int(tx.execute(LAST, (hold.run, stream))[0][0])
    tx.executemany(
        EMIT,
        [(hold.run, stream, n + i, hold.gen, step.scope, step.pos, attempt, chunk) for i, chunk in enumerate(data, 1)],
    )
    return attempt


def chunks(tx: Transaction, run_id: str, stream: str, *, after: int, limit: int) -> tuple[list[Chunk], bool]:
    """The chunks behind `after`, and whether the run has ended; an unknown run has."""
    for seq, state_ in tx.execute(RUN, (run_id,)):
        found = [Chunk._make(row) for row in tx.execute(CHUNKS, (seq, stream, after, limit))]
        return found, State(state_) in FINISHED and len(found) < limit
    return [], True


def state(tx: Transaction, run_id: str) -> dict[str, bytes]:
    """The values that a run has set."""
    return {key: bytes(value) for key, value in tx.execute(STATE, (run_id,))}


def streams(tx: Transaction, run_id: str, *, limit: int) -> list[tuple[str, int]]:
    """The names of a run's streams, `limit` at most, each with the number of its last chunk."""
    found: list[tuple[str, int]] = []
    for seq, _ in tx.execute(RUN, (run_id,)):
        name = ""
        while len(found) < limit:
            name = tx.execute(NEXT_STREAM, (seq, name))[0][0]
            if name is None:
                break
            found.append((name, int(tx.execute(LAST, (seq, name))[0][0])))
    return found


def inbox(tx: Transaction, run_id: str, *, limit: int) -> list[tuple[str, int]]:
    """The events that a run was sent and has not waited for yet: (name, when in ms), `limit` at most."""
    return [(str(name), int(at_ms)) for name, at_ms in tx.execute(INBOX, (run_id, limit))]
