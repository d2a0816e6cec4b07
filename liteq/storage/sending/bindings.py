"""The bindings of exchanges: into which queues the messages of an exchange go, as AMQP's programs declare it.

Liteq's own programs name the queue of a message themselves, and have none. Whose routing key a message's fits is the
caller's to decide: here they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["KINDS", "Binding", "bind", "bindings", "forget", "is_bound", "unbind"]

KINDS: Final = ("direct", "topic", "fanout")
IS_BOUND = "SELECT kind FROM liteq_bindings WHERE exchange = ? AND routing_key = ? AND queue = ?"
BIND = """
INSERT INTO liteq_bindings (exchange, routing_key, queue, kind) VALUES (?, ?, ?, ?)
ON CONFLICT (exchange, routing_key, queue) DO UPDATE SET kind = excluded.kind
"""
UNBIND = "DELETE FROM liteq_bindings WHERE exchange = ? AND routing_key = ? AND queue = ?"
FORGET_QUEUE = "DELETE FROM liteq_bindings WHERE queue = ?"
FORGET_EXCHANGE = "DELETE FROM liteq_bindings WHERE exchange = ?"
OF_EXCHANGE = """
SELECT exchange, routing_key, queue, kind FROM liteq_bindings WHERE exchange = ? ORDER BY routing_key, queue
"""
OF_QUEUE = """
SELECT exchange, routing_key, queue, kind FROM liteq_bindings WHERE queue = ? ORDER BY exchange, routing_key
"""


class Binding(NamedTuple):
    """Messages of `exchange` whose routing key fits go to `queue`. `kind`: of the exchange, one of KINDS."""

    exchange: str
    routing_key: str
    queue: str
    kind: str = "direct"


def is_bound(tx: Transaction, one: Binding) -> bool:
    """Whether this very binding is there."""
    return tx.execute(IS_BOUND, one[:3]) == [(one.kind,)]


def bind(tx: Transaction, one: Binding) -> None:
    """Keep a binding; one that is there stays, with the kind that it is given now."""
    tx.executemany(BIND, [one])


def unbind(tx: Transaction, one: Binding) -> bool:
    """Forget one binding; whether it was there."""
    return tx.executemany(UNBIND, [one[:3]]) == 1


def forget(tx: Transaction, *, queues: Sequence[str] = (), exchanges: Sequence[str] = ()) -> int:
    """Forget all bindings of these queues and exchanges; how many."""
    gone = tx.executemany(FORGET_QUEUE, [(queue,) for queue in queues])
    return gone + tx.executemany(FORGET_EXCHANGE, [(exchange,) for exchange in exchanges])


def bindings(tx: Transaction, *, exchange: str | None = None, queue: str | None = None) -> list[Binding]:
    """The bindings of an exchange, or of a queue, in order."""
    rows = tx.execute(OF_QUEUE, (queue,)) if exchange is None else tx.execute(OF_EXCHANGE, (exchange,))
    return [Binding._make(row) for row in rows]
