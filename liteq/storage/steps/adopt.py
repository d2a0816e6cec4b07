"""A message that was sent by its task's name alone, by a process that did not know it for a workflow, becomes a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liteq.message import Flag, Lease, Message, RunSpec
from liteq.storage.driver import Transaction
from liteq.storage.steps.activation import activate
from liteq.storage.steps.birth import add_runs

__all__ = ["adopt"]

BECOME = f"UPDATE liteq_messages SET flags = (flags | {Flag.RUN}) & {~Flag.EARLY_ACK} WHERE seq = ?"


def adopt(tx: Transaction, leases: Sequence[Lease], flows: Mapping[str, RunSpec], *, now_ms: int) -> list[Lease]:
    """`leases`, just claimed: those of one of `flows`, by name, are runs from now on."""
    run = Flag.RUN
    return [
        _adopt(tx, lease, flows[lease.task], now_ms) if lease.task in flows and not lease.flags & run else lease
        for lease in leases
    ]


def _adopt(tx: Transaction, lease: Lease, spec: RunSpec, now_ms: int) -> Lease:
    tx.executemany(BECOME, [(lease.seq,)])
    flags = (lease.flags | Flag.RUN) & ~Flag.EARLY_ACK
    add_runs(tx, [Message(lease.id, lease.task, lease.payload, flags=flags, run=spec)])
    return activate(tx, lease._replace(flags=flags), now_ms=now_ms)
