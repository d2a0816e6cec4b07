"""Rates that a worker keeps by itself: a message that one holds back is moved out of the claimable set, once.

    pending --(no token)--> held --(a token)--> pending --> leased

The first step happens when a claim meets the message at the head of its queue, then for a whole page of those behind
it. The second and third happen in one transaction, in the order of priority, so a held message is never in a worker's
hands before its time, counts no attempt, and costs nothing while it waits: no claim looks at it again. Another worker,
which has a token or no such rate, may take it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field
from math import inf

from liteq.message import Flag, Lease
from liteq.policy.rates import Bucket
from liteq.storage.claiming.pauses import open_queues
from liteq.storage.driver import SKIP_LOCKED, Transaction
from liteq.storage.limits.rules import OWN
from liteq.utils.records import dataclass

__all__ = ["Budget", "held_pairs", "hold_again", "look", "note", "wake"]

# From pair to pair through the index: its cost is the number of held tasks, not of messages.
NEXT_TASK = """
SELECT held_by FROM liteq_messages
 WHERE state = 'held' AND held_by > :after AND held_by < :end ORDER BY held_by LIMIT 1
"""
NEXT_QUEUE = """
SELECT queue FROM liteq_messages WHERE state = 'held' AND held_by = :line AND queue > :queue ORDER BY queue LIMIT 1
"""
HOLD_AGAIN = "UPDATE liteq_messages SET state = 'held' WHERE seq = ? AND state = 'pending'"
WAKE = f"""
UPDATE liteq_messages SET state = 'pending'
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'held' AND held_by = :line AND queue = :queue ORDER BY priority DESC, due_ms, seq
     LIMIT :limit {SKIP_LOCKED})
RETURNING seq
"""
END = OWN[:-1] + chr(ord(OWN[-1]) + 1)  # behind all such lines


@dataclass
class Budget:
    """The share of one turn in tasks whose rate is limited; the claim notes in it how much it used.

    `bucket`: this worker's own bucket of a task, None where it has none. `now_s` belongs to these, by the monotonic
    clock. `keyed`: tasks whose messages may have come without their keys, which `keys_of` makes (as `Message.keys`) of
    a lease with payload and input. `used` is to be taken out of the buckets once the transaction has committed.
    `wait_s`: until the next look is worth it, 0 for at once; None when nothing was looked at.
    """

    bucket: Callable[[str], Bucket | None]
    now_s: float
    keyed: Collection[str] = ()
    keys_of: Callable[[Lease], str | None] | None = None
    used: Counter[str] = field(default_factory=Counter)
    wait_s: float | None = None

    def left(self, task: str) -> float:
        """How many of `task` may still be claimed; infinity where nothing limits it."""
        bucket = self.bucket(task)
        return inf if bucket is None else max(0, bucket.tokens(self.now_s) - self.used[task])

    def next_s(self, task: str) -> float:
        """How long until there is a token for `task`, in seconds; infinity where that is not for this worker to say."""
        bucket = self.bucket(task)
        return 0.0 if bucket is None else bucket.wait_s(self.now_s)


def held_pairs(tx: Transaction) -> list[tuple[str, str]]:
    """The (queue, task) of which messages are held by workers' own rates."""
    found: list[tuple[str, str]] = []
    after = OWN
    while rows := tx.execute(NEXT_TASK, {"after": after, "end": END}):
        after = rows[0][0]
        queues = tx.execute(NEXT_QUEUE, {"line": after, "queue": ""})
        while queues:
            found.append((queues[0][0], after.removeprefix(OWN)))
            queues = tx.execute(NEXT_QUEUE, {"line": after, "queue": queues[0][0]})
    return found


def look(tx: Transaction, queues: Sequence[str], budget: Budget, *, now_ms: int) -> bool:
    """Whether a claim is worth it: something held may be claimed. Else `budget.wait_s` says when."""
    queues = open_queues(tx, queues, now_ms=now_ms)
    tasks = [task for queue, task in held_pairs(tx) if queue in queues]
    budget.wait_s = min(map(budget.next_s, tasks), default=inf)
    return any(budget.left(task) >= 1 for task in tasks)


def wake(tx: Transaction, queues: Sequence[str], budget: Budget, limit: int) -> set[int]:
    """Make as many of the held claimable as there are tokens for; their row numbers."""
    budget.used.clear()  # of a transaction that was ended, and whose verb runs again
    woken: set[int] = set()
    for queue, task in held_pairs(tx):
        n = int(min(budget.left(task), limit)) if queue in queues else 0
        rows = tx.execute(WAKE, {"queue": queue, "line": OWN + task, "limit": n}) if n >= 1 else []
        woken.update(seq for (seq,) in rows)
    return woken


def hold_again(tx: Transaction, rows: Iterable[int]) -> None:
    """Hold what was woken and not claimed; what a limit holds now stays in its line."""
    tx.executemany(HOLD_AGAIN, [(seq,) for seq in rows])


def note(tx: Transaction, budget: Budget, queues: Sequence[str], leases: Sequence[Lease]) -> None:
    """Note in `budget` what was claimed, and when the next look is worth it; a run that goes on takes no token."""
    waits = [budget.next_s(task) for queue, task in held_pairs(tx) if queue in queues]
    budget.used.update([lease.task for lease in leases if not lease.flags & Flag.HISTORY])
    budget.wait_s = min(waits, default=inf)
