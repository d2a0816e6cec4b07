"""Messages that pass: for those who listen to a channel at the moment, and for nobody who comes later.

A log that each listener reads from its own place, so that a message for a hundred of them is one row, and reading it
writes nothing. Where nobody listens, nothing is written at all. A channel with one listener, such as the queue of a
process's replies, may be emptied as it is read instead.
"""

from __future__ import annotations

from typing import Final

from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.utils.records import NamedTuple

__all__ = ["Passed", "after", "is_heard", "leave", "listen", "newest", "renew", "send", "size", "take", "trim"]

HEARD = "SELECT 1 FROM liteq_listeners WHERE channel = ? AND until_ms > ? LIMIT 1"
LISTEN = """
INSERT INTO liteq_listeners (channel, name, place, until_ms)
VALUES (:channel, :name, (SELECT coalesce(max(id), 0) FROM liteq_passing), :until_ms)
ON CONFLICT (channel, name) DO UPDATE SET until_ms = excluded.until_ms
RETURNING place
"""
RENEW = "UPDATE liteq_listeners SET place = ?, until_ms = ? WHERE channel = ? AND name = ?"
SEND = "INSERT INTO liteq_passing (channel, created_ms, body) VALUES (?, ?, ?)"
AFTER = "SELECT id, body FROM liteq_passing WHERE channel = ? AND id > ? ORDER BY id LIMIT ?"
# One statement: of two that empty a channel at once, each message goes to one.
TAKE = """
DELETE FROM liteq_passing WHERE id IN (
    SELECT id FROM liteq_passing WHERE channel = ? ORDER BY id LIMIT ?)
RETURNING id, body
"""
NEWEST = "SELECT (SELECT max(id) FROM liteq_passing), (SELECT max(id) FROM liteq_commands)"

SIZE = "SELECT count(*) FROM (SELECT 1 FROM liteq_passing WHERE channel = ? AND id > ? LIMIT ?) AS some_of_them"
LEAVE = "DELETE FROM liteq_listeners WHERE name = ?"
GONE = "DELETE FROM liteq_listeners WHERE until_ms <= ?"
# The oldest first, by the primary key, and only those that are read by all, or too old.
TRIM = f"""
DELETE FROM liteq_passing WHERE id IN (
    SELECT p.id FROM liteq_passing AS p
     WHERE p.created_ms <= :before_ms
        OR NOT EXISTS (SELECT 1 FROM liteq_listeners AS l WHERE l.channel = p.channel AND l.place < p.id)
     ORDER BY p.id LIMIT :limit {SKIP_LOCKED})
"""
KEEP_MS: Final = 3_600_000  # for a listener that lives and does not read
TRIMMED: Final = 1_000  # rows of one transaction
COUNTED: Final = 100_000


class Passed(NamedTuple):
    """A message of a channel: its number, which is the reader's next place, and its body."""

    place: int
    body: bytes


def is_heard(tx: Transaction, channel: str, *, now_ms: int) -> bool:
    """Whether somebody listens to `channel`: a read."""
    return bool(tx.execute(HEARD, (channel, now_ms)))


def listen(tx: Transaction, channel: str, name: str, *, until_ms: int, now_ms: int) -> int:
    """Let `name` listen to `channel` until then; its place: where it listened before, else behind all that is there."""
    trim(tx, now_ms=now_ms)
    return int(tx.execute(LISTEN, {"channel": channel, "name": name, "until_ms": until_ms})[0][0])


def renew(tx: Transaction, channel: str, name: str, place: int, *, until_ms: int, now_ms: int) -> bool:
    """Note that `name` listens until then, and how far it has read; False where it is not known any more."""
    known = tx.executemany(RENEW, [(place, until_ms, channel, name)]) == 1
    trim(tx, now_ms=now_ms)
    return known


def send(tx: Transaction, channel: str, body: bytes, *, now_ms: int) -> bool:
    """Write a message for those who listen to `channel`; False, and nothing is written, where nobody does."""
    if not is_heard(tx, channel, now_ms=now_ms):
        return False
    tx.in_turn("liteq_passing")
    tx.executemany(SEND, [(channel, now_ms, body)])
    return True


def after(tx: Transaction, channel: str, place: int, *, limit: int) -> list[Passed]:
    """Up to `limit` messages of `channel` behind `place`, in their order; a read."""
    return [Passed(number, bytes(body)) for number, body in tx.execute(AFTER, (channel, place, limit))]


def newest(tx: Transaction) -> tuple[int | None, int | None]:
    """The numbers of the newest message of any channel, and of the newest command; None where there is none.

    Numbers are never used again, so nothing has come while both stay what they were.
    """
    ((message, command),) = tx.execute(NEWEST)
    return message, command


def take(tx: Transaction, channel: str, *, limit: int) -> list[Passed]:
    """The first messages of `channel`, which leave it."""
    return sorted(Passed(number, bytes(body)) for number, body in tx.execute(TAKE, (channel, limit)))


def size(tx: Transaction, channel: str, place: int = 0) -> int:
    """How many messages of `channel` are there behind `place`; counted up to 100,000."""
    return int(tx.execute(SIZE, (channel, place, COUNTED))[0][0])


def leave(tx: Transaction, name: str, *, now_ms: int) -> None:
    """Let `name` listen no more, to no channel; what only it would have read goes."""
    tx.executemany(LEAVE, [(name,)])
    trim(tx, now_ms=now_ms)


def trim(tx: Transaction, *, now_ms: int) -> None:
    """Forget listeners that are gone, and a chunk of the messages that nobody waits for."""
    tx.executemany(GONE, [(now_ms,)])
    tx.executemany(TRIM, [{"before_ms": now_ms - KEEP_MS, "limit": TRIMMED}])
