"""The signs of a run while it runs: values and tags. Written under its lease, seen by others at once."""

from __future__ import annotations

from liteq.message import Hold
from liteq.storage.driver import Bell, Driver, Promise, Transaction
from liteq.storage.steps.rows import UNDER_HOLD

__all__ = ["inbox", "set_value", "state", "tag_under"]

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
INBOX = """
SELECT name, created_ms FROM liteq_inbox WHERE run_id = ? AND taken = 0 ORDER BY name, id LIMIT ?
"""


def set_value(driver: Driver, hold: Hold, key: str, value: bytes) -> bool:
    """Store a value; False where the lease is over."""
    return driver.change(SET, (key, value, hold.run, hold.token), Promise.PROGRESS, Bell.DONE) == 1


def tag_under(driver: Driver, hold: Hold, tag: str) -> bool:
    """Add a tag; False where the lease is over."""
    return driver.change(TAG, (tag, hold.run, hold.token), Promise.PROGRESS) == 1


def state(tx: Transaction, run_id: str) -> dict[str, bytes]:
    """The values that a run has set."""
    return {key: bytes(value) for key, value in tx.execute(STATE, (run_id,))}


def inbox(tx: Transaction, run_id: str, *, limit: int) -> list[tuple[str, int]]:
    """The events that a run was sent and has not waited for yet: (name, when in ms), `limit` at most."""
    return [(str(name), int(at_ms)) for name, at_ms in tx.execute(INBOX, (run_id, limit))]
