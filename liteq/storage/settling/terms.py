"""The terms on which a batch of outcomes is settled, its effect, and what some need before their rows are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from liteq.exceptions import CanvasConflict
from liteq.message import (
    Batch,
    DeadLetter,
    Flag,
    Lease,
    Message,
    Outcome,
    Ran,
    Release,
    Replace,
    RetryAt,
    RunFacts,
    new_id,
)
from liteq.serialization.causes import Cause, cause_of
from liteq.storage.canvases.continuation import catch_up
from liteq.storage.canvases.follow import STOPS, Waiter, link, waits_for
from liteq.storage.driver import Transaction
from liteq.storage.sending.enqueue import place
from liteq.storage.statistics import causes
from liteq.storage.statistics.causes import Failure
from liteq.storage.steps.wake import give_back
from liteq.utils.records import NamedTuple

__all__ = ["BECOME_ALIAS", "ENDED", "NOTHING", "Settled", "Terms", "note_causes", "replace_message", "replacement_of"]

# An errback too: it stands for its replacement, and is not to be called where that fails.
BECOME_ALIAS = f"""
UPDATE liteq_messages SET state = 'blocked', awaits = ?, flags = (flags & {~STOPS}) | ?
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
ONCE = Flag.EARLY_ACK | Flag.BEGUN
RUN_STARTED = RunFacts._fields.index("started_ms")


class Terms(NamedTuple):
    """The terms of a batch: the time, after how many crashes a message is given up, when its executions began and how
    long they took, by token, and which release of the code they ran (`Storage.release`).
    """

    now_ms: int
    max_crashes: int
    ran: Mapping[int, Ran] = {}
    release: str = ""

    def gives_up(self, lease: Lease) -> bool:
        """Whether a message whose child has died under `lease` does not run again: it promised, or died too often."""
        return lease.crashes + 1 >= self.max_crashes or bool(lease.flags & ONCE)

    def started_ms(self, lease: Lease, ran: Ran | None = None) -> int | None:
        """When a lease's execution began; of a run, the first of all; None where that is not known."""
        if lease.run is not None:
            first: int | None = lease.run[RUN_STARTED]
            return first
        ran = ran or self.ran.get(lease.token)
        return None if ran is None else ran[0]


class Settled(NamedTuple):
    """The effect of a batch: the leases that were `lost`, whether something `finished`, whether something `woke`.

    `freed`: the queues in which something may start, or has got a time: it came there, or waited for what has ended or
    for a place that is free now.
    """

    lost: list[Lease]
    finished: bool
    woke: bool
    freed: AbstractSet[str] = frozenset()


NOTHING = Settled([], finished=False, woke=False)
ENDED = Settled([], finished=True, woke=False)


def note_causes(tx: Transaction, settled: Sequence[tuple[Lease, Outcome]], terms: Terms) -> dict[int, str]:
    """Count the failures among `settled` to their causes, whose ids are returned by token."""
    failures: list[Failure] = []
    for lease, outcome in settled:
        if type(outcome) is DeadLetter or type(outcome) is RetryAt:
            cause = None if outcome.cause is None else Cause._make(outcome.cause)
            if cause is None and outcome.error is not None and type(outcome) is DeadLetter:
                cause = cause_of(lease.task, outcome.error)
        elif type(outcome) is Release and outcome.crashed and outcome.error is not None:
            cause = cause_of(lease.task, outcome.error)
        else:
            continue
        if cause is not None:
            failures.append(Failure(lease.token, cause, lease.task, lease.queue, lease.id))
    return causes.note(tx, failures, now_ms=terms.now_ms, release=terms.release) if failures else {}


def replacement_of(outcome: Replace, own: str) -> Replace:
    """`outcome` with its terminal row marked as awaited, so that its end reaches the message that it replaces.

    A part of it that has that message's `own` id gets another: the message stays what its senders wait for.
    """
    batch, awaits = outcome.batch, outcome.awaits
    names = {own: new_id()} if any(node.id == own for node in batch.nodes()) else {}
    last = names.get(awaits, awaits)

    def linked(m: Message) -> Message:
        if names:
            m = replace(m, id=names.get(m.id, m.id), awaits=names.get(m.awaits or "", m.awaits))
            m = replace(m, group_id=names.get(m.group_id or "", m.group_id))
        return replace(m, flags=m.flags | Flag.LINKED) if m.id == last else m

    groups = batch.groups
    if names:
        groups = [
            replace(g, id=names.get(g.id, g.id), group_id=names.get(g.group_id or "", g.group_id)) for g in groups
        ]
    return Replace(Batch([linked(m) for m in batch.messages], groups), last)


def replace_message(tx: Transaction, lease: Lease, replacement: Replace, *, now_ms: int) -> None:
    """Write what takes the place of a message, which awaits it from now on. Raises CanvasConflict."""
    batch, awaits = replacement.batch, replacement.awaits
    placed = place(tx, batch, now_ms=now_ms, waiter=Waiter(lease.id, {awaits}))
    there, flags = placed.stands.get(awaits, awaits), Flag.ALIAS | Flag.LINKED
    if awaits in placed.standing:
        if waits_for(tx, there, {lease.id}):
            raise CanvasConflict(f"{lease.id} cannot be replaced by {there!r}, which runs after it")
        link(tx, there)
        flags |= Flag.FOLLOWS
    tx.executemany(BECOME_ALIAS, [(there, flags, lease.seq, lease.token)])
    give_back(tx, lease.awaits, now_ms=now_ms)
    catch_up(tx, there, now_ms=now_ms)  # what was written may have ended too: as a call that another one stands for
