"""Shutting a store while it is moved: what is noted in it, and which of its rows nobody else may change.

Both ends are shut from before the first row is copied until the last one is gone at the source. The store itself
refuses: a worker that is started meanwhile, by an older liteq too, claims nothing, and a call raises StorageError. A
note in each says which move it belongs to, so that the next call goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

from liteq.storage.driver import Driver, Promise, Transaction
from liteq.storage.limits import rules
from liteq.storage.moving.tables import ALL, INBOX, MESSAGES, MOVED
from liteq.utils.records import NamedTuple

__all__ = [
    "SHUT",
    "Note",
    "Role",
    "is_sealed",
    "leased",
    "note",
    "past",
    "reopen",
    "settle_target",
    "shut",
    "sole",
    "write_note",
]

# Of a table that goes as a whole all rows are deleted at the source: what came behind its copy would be gone. Those of
# the others stand beside messages, and are written under a lease or with one of those.
SHUT: Final = (MESSAGES, *[table for table, one in MOVED.items() if one.which == ALL])
PREFIX: Final = "moving_"

NOTES = "SELECT key, value FROM liteq_meta WHERE key LIKE 'moving%'"
WRITE = """
INSERT INTO liteq_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
FORGET = "DELETE FROM liteq_meta WHERE key LIKE 'moving%' OR key = 'shut'"
LET_PASS = "UPDATE liteq_meta SET value = ? WHERE key = 'shut'"
PAST = "SELECT value FROM liteq_meta WHERE key = 'moved'"
SEALED = "SELECT 1 FROM liteq_meta WHERE key = 'sealed'"
LEASED = "SELECT count(*), min(deadline_ms), max(deadline_ms) FROM liteq_messages WHERE state = 'leased'"
HAS_LIMITS = "SELECT 1 FROM liteq_limits LIMIT 1"


class Role(IntEnum):
    """The end of a move that a store is."""

    SOURCE = 1
    TARGET = 2


class Note(NamedTuple):
    """A move that has begun. `move`: its number. `other`: a hash of the place of the other end.

    `gone`: 1 from when all is at the target, and goes at the source. `shift`, `inbox`: added to the numbers of messages
    and of events in the inbox at the target, whose note alone has them. `tokens`: the source gave out none above.
    """

    move: int
    role: int
    other: int
    gone: int = 0
    shift: int = 0
    inbox: int = 0
    tokens: int = 0


def note(tx: Transaction) -> Note | None:
    """The move that this store is an end of; None where it is none's."""
    found = {str(key).removeprefix(PREFIX): value for key, value in tx.execute(NOTES)}
    return Note(**found) if found else None


def past(tx: Transaction) -> int:
    """The number of the last move of which this store was the source; 0 for none."""
    return next((value for (value,) in tx.execute(PAST)), 0)


def write_note(tx: Transaction, one: Note) -> None:
    """Note a move, or how far it has come."""
    tx.executemany(WRITE, [(f"{PREFIX}{name}", int(value)) for name, value in one._asdict().items()])


def shut(driver: Driver, tx: Transaction, one: Note) -> None:
    """Shut the store, in the open write transaction; it waits for transactions that have begun."""
    tx.executemany(WRITE, [("shut", 1)])
    driver.shut(tx, SHUT)
    write_note(tx, one)


def reopen(driver: Driver, tx: Transaction, *, moved: int | None, now_ms: int) -> None:
    """Open the store again. `moved`: the number of a move of which it was the source, and which is done."""
    driver.reopen(tx, SHUT)
    tx.execute(FORGET)
    if moved is not None:
        tx.executemany(WRITE, [("moved", moved)])
        rules.changed(tx, now_ms=now_ms)


@contextmanager
def sole(driver: Driver) -> Iterator[Transaction]:
    """A write transaction on a store that is shut, for the move itself."""
    with driver.write(Promise.ACCEPTED) as tx:
        tx.executemany(LET_PASS, [(0,)])
        yield tx
        tx.executemany(LET_PASS, [(1,)])


def leased(tx: Transaction) -> tuple[int, int | None, int | None]:
    """How many messages are leased, and the first and the last end of their leases."""
    n, first_ms, last_ms = tx.execute(LEASED)[0]
    return n, first_ms, last_ms


def settle_target(driver: Driver, tx: Transaction, *, sealed: bool, tokens: int, now_ms: int) -> None:
    """All rows are there: have numbers, tokens and limits go on from them, and note that values are sealed."""
    driver.number_on(tx, MESSAGES, "seq")
    driver.number_on(tx, INBOX, "id")
    tx.tokens(1, above=tokens)
    if tx.execute(HAS_LIMITS):
        rules.changed(tx, now_ms=now_ms)
    if sealed:
        tx.executemany(WRITE, [("sealed", 1)])


def is_sealed(tx: Transaction) -> bool:
    """Whether the store's values are noted as sealed by a payload codec."""
    return bool(tx.execute(SEALED))
