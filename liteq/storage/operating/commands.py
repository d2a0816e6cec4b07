"""Remote control over the file: commands for all workers or some, and their replies.

A worker knows the last command that it has seen, so that its look for new ones is one read of an index.
"""

from __future__ import annotations

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["REVOKES_KEPT_S", "Command", "Reply", "last_seen", "new_commands", "replies", "reply", "send"]

SEND = """
INSERT INTO liteq_commands (name, arguments, destination, wants_reply, expires_ms)
VALUES (:name, :arguments, :destination, :wants_reply, :expires_ms)
RETURNING id
"""
CLEAR_REPLIES = "DELETE FROM liteq_replies WHERE command IN (SELECT id FROM liteq_commands WHERE expires_ms < ?)"
CLEAR_COMMANDS = "DELETE FROM liteq_commands WHERE expires_ms < ?"
LAST = "SELECT coalesce(max(id), 0) FROM liteq_commands"
NEW = """
SELECT id, name, arguments, destination, wants_reply, expires_ms FROM liteq_commands WHERE id > ? ORDER BY id
"""
REPLY = "INSERT INTO liteq_replies (command, worker, name, reply) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
REPLIES = "SELECT worker, name, reply FROM liteq_replies WHERE command = ?"
REVOKES_KEPT_S = 86_400.0  # that an id is revoked which no message has, or one that runs, is kept for so long
KEEP_MS = 60_000  # replies are there for a late reader for so long after their command has expired


class Command(NamedTuple):
    """A request to workers. `arguments` and `destination` are JSON; after `expires_ms` nobody waits for it."""

    id: int
    name: str
    arguments: bytes
    destination: bytes | None
    wants_reply: bool
    expires_ms: int


class Reply(NamedTuple):
    """A worker's answer, as JSON."""

    worker: int
    name: str
    reply: bytes


def send(
    tx: Transaction, name: str, arguments: bytes, destination: bytes | None, *, wants_reply: bool, expires_ms: int,
    now_ms: int,
) -> int:  # fmt: skip
    """Write a command, and clear away those that are long over; its number."""
    tx.execute(CLEAR_REPLIES, (now_ms - KEEP_MS,))
    tx.execute(CLEAR_COMMANDS, (now_ms - KEEP_MS,))
    tx.in_turn("liteq_commands")
    params = {
        "name": name,
        "arguments": arguments,
        "destination": destination,
        "wants_reply": int(wants_reply),
        "expires_ms": expires_ms,
    }
    return int(tx.execute(SEND, params)[0][0])


def last_seen(tx: Transaction) -> int:
    """The number of the newest command, 0 where there is none: a worker that starts now answers later ones."""
    return int(tx.execute(LAST)[0][0])


def new_commands(tx: Transaction, after: int) -> list[Command]:
    """The commands with a higher number than `after`, in their order."""
    return [Command._make(row) for row in tx.execute(NEW, (after,))]


def reply(tx: Transaction, command: int, worker: int, name: str, data: bytes) -> None:
    """Answer a command; the first answer of a worker counts."""
    tx.executemany(REPLY, [(command, worker, name, data)])


def replies(tx: Transaction, command: int) -> list[Reply]:
    """The answers that are there."""
    return [Reply._make(row) for row in tx.execute(REPLIES, (command,))]
