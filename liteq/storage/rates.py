"""The verb *claim* under rate limits: a message held back by a rate is moved out of the claimable set, once.

    pending --(no token)--> held --(a token)--> pending --> leased

The first step happens when a claim meets the message at the head of its queue, then for a whole page of those behind
it. The second and third happen in one transaction, in the order of priority, so a held message is never in a worker's
hands before its time, counts no attempt, and costs nothing while it waits: no claim looks at it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from math import inf

from liteq.message import Flag, Lease
from liteq.policy.rates import Bucket, per_second
from liteq.storage import commands
from liteq.storage.claim import Claimed, claim_pending, promote
from liteq.storage.driver import LOCK, SKIP_LOCKED, Row, Transaction
from liteq.storage.pauses import open_queues
from liteq.utils.records import dataclass

__all__ = ["Budget", "Rate", "claim_within", "declare", "held_pairs", "look", "rates", "set_rate"]

# From pair to pair through the index: its cost is the number of held tasks, not of messages. (SQLite does
# not seek by `(queue, task) > (?, ?)`: with a million held messages of one task that took 0.4 s.)
NEXT_TASK = """
SELECT queue, task FROM liteq_messages
 WHERE state = 'held' AND queue = :queue AND task > :task ORDER BY task LIMIT 1
"""
NEXT_QUEUE = """
SELECT queue, task FROM liteq_messages WHERE state = 'held' AND queue > :queue ORDER BY queue, task LIMIT 1
"""
HEAD = f"""
SELECT seq, task, flags FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue ORDER BY priority DESC, due_ms, seq LIMIT :limit {SKIP_LOCKED}
"""
HOLD = "UPDATE liteq_messages SET state = 'held' WHERE seq = ? AND state = 'pending'"
WAKE = f"""
UPDATE liteq_messages SET state = 'pending'
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'held' AND queue = :queue AND task = :task ORDER BY priority DESC, due_ms, seq
     LIMIT :limit {SKIP_LOCKED})
RETURNING seq
"""
# Runs that have begun: a rate holds none of them back, only how many execute at once.
WAKE_BEGUN = WAKE.replace("AND task = :task", f"AND task = :task AND flags & {Flag.HISTORY} <> 0")
EXECUTING = "SELECT count(*) FROM liteq_messages WHERE state = 'leased' AND task = ?"
RATES = "SELECT task, rate, full_us, declared FROM liteq_rates"
RATES_TO_SPEND = f"{RATES} ORDER BY task {LOCK}"  # two claims do not spend one token
SPEND = "UPDATE liteq_rates SET full_us = :full_us WHERE task = :task"
SET = """
INSERT INTO liteq_rates (task, rate, declared, full_us) VALUES (:task, :rate, NULL, 0)
ON CONFLICT (task) DO UPDATE SET rate = excluded.rate, full_us = 0
"""
# A rate set at run time stands until the code says something else.
DECLARE = """
INSERT INTO liteq_rates (task, rate, declared, full_us) VALUES (:task, :rate, :rate, 0)
ON CONFLICT (task) DO UPDATE SET rate = excluded.rate, declared = excluded.declared, full_us = 0
 WHERE liteq_rates.declared IS NULL OR liteq_rates.declared <> excluded.declared
"""
UNDECLARE = "DELETE FROM liteq_rates WHERE task = ? AND declared IS NOT NULL"

PAGE = 1_000  # messages that are held in one go once a claim meets one: the rest of a backlog is mostly alike
LOOK_S = 0.25  # until the next look whether fewer execute: the end of one in another worker tells nobody
MOST = 2_000  # ... and in one transaction: other writers get their turn in between


@dataclass
class Budget:
    """The share of one turn in tasks whose rate is limited; the claim notes in it how much it used.

    `bucket`: this worker's own bucket of a task, None where it has none. `now_s` belongs to these, by the monotonic
    clock. `most`: how many runs of a workflow may execute at once, over all workers. `used` is to be taken out of the
    buckets once the transaction has committed. `wait_s`: until the next look is worth it, 0 for at once; None when
    nothing was looked at.
    """

    bucket: Callable[[str], Bucket | None]
    now_s: float
    most: Mapping[str, int] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)
    wait_s: float | None = None


class Rate:
    """One limit that all workers share, as the file has it. Its bucket goes by the wall clock, in seconds."""

    __slots__ = ("bucket", "declared", "task", "text")

    def __init__(self, task: str, text: str, full_us: int, declared: str | None) -> None:
        self.task = task
        self.text = text
        self.declared = declared
        self.bucket = _bucket(text, full_us)


def _bucket(text: str, full_us: int) -> Bucket | None:
    """The bucket of a stored rate; None for no limit, and for a row that another program wrote and that is no rate."""
    try:
        rate = per_second(text)
        return Bucket(rate, full_us / 1e6) if rate else None
    except (ValueError, TypeError):
        return None


def rates(tx: Transaction) -> dict[str, Rate]:
    """The limits that all workers share, by task."""
    return _by_task(tx.execute(RATES))


def _by_task(rows: list[Row]) -> dict[str, Rate]:
    return {row[0]: Rate(*row) for row in rows}


def set_rate(tx: Transaction, task: str, rate: str) -> None:
    """Limit all workers together to `rate` of `task` (`""`: no limit). Raises ValueError for text that is no rate."""
    per_second(rate)
    tx.execute(SET, {"task": task, "rate": rate})


def declare(tx: Transaction, declared: Mapping[str, str | None]) -> None:
    """Take over the rates in the code, by task (None: none). A rate set at run time stands until the code changes."""
    tx.executemany(UNDECLARE, [(task,) for task, rate in declared.items() if rate is None])
    tx.executemany(DECLARE, [{"task": task, "rate": rate} for task, rate in declared.items() if rate is not None])


def held_pairs(tx: Transaction) -> list[tuple[str, str]]:
    """The (queue, task) of which messages are held."""
    found: list[tuple[str, str]] = []
    rows = tx.execute(NEXT_QUEUE, {"queue": ""})
    while rows:
        queue, task = rows[0]
        found.append((queue, task))
        rows = tx.execute(NEXT_TASK, {"queue": queue, "task": task}) or tx.execute(NEXT_QUEUE, {"queue": queue})
    return found


class _Turn:
    """The tokens that are left to one transaction: of the worker's buckets and of the shared ones."""

    def __init__(self, tx: Transaction, budget: Budget, now_ms: int, *, spends: bool) -> None:
        self.budget = budget
        self.shared = _by_task(tx.execute(RATES_TO_SPEND if spends else RATES))
        self._tx = tx
        self._executing: dict[str, int] = {}
        self._now = now_ms / 1000
        # Capped once and written: capped at each look alone, a bucket would stay empty for as long as the clock was
        # set back.
        self.set_back = {
            task for task, rate in self.shared.items() if rate.bucket is not None and rate.bucket.cap(self._now)
        }

    def _buckets(self, task: str) -> Iterable[tuple[Bucket, float]]:
        own = self.budget.bucket(task)
        if own is not None:
            yield own, self.budget.now_s
        rate = self.shared.get(task)
        if rate is not None and rate.bucket is not None:
            yield rate.bucket, self._now

    def left(self, task: str) -> float:
        """How many of `task` may still be claimed; infinity where nothing limits it."""
        tokens = min((bucket.tokens(now) for bucket, now in self._buckets(task)), default=inf)
        return max(0.0, tokens - self.budget.used[task])

    def room(self, task: str) -> float:
        """How many more of `task` may execute at once; infinity where nothing limits it."""
        most = self.budget.most.get(task)
        if most is None:
            return inf
        if task not in self._executing:
            self._executing[task] = int(self._tx.execute(EXECUTING, (task,))[0][0])
        return max(0, most - self._executing[task])

    def claimed(self, leases: Sequence[Lease]) -> None:
        """Note what has been claimed: a run that goes on has no need of a token."""
        for lease in leases:
            if lease.task in self._executing:
                self._executing[lease.task] += 1
        self.budget.used.update([lease.task for lease in leases if not lease.flags & Flag.HISTORY])

    def wait_s(self, task: str) -> float:
        waits = max((bucket.wait_s(now) for bucket, now in self._buckets(task)), default=0.0)
        return waits if self.room(task) >= 1 else max(waits, LOOK_S)

    def spend(self, tx: Transaction) -> None:
        """Write what was claimed of the shared tokens, and the buckets that were too far ahead."""
        for task in {*self.budget.used, *self.set_back}:
            rate = self.shared.get(task)
            if rate is not None and rate.bucket is not None:
                rate.bucket.take(self.budget.used[task], self._now)
                tx.execute(SPEND, {"task": task, "full_us": int(rate.bucket.full_at * 1e6)})


def look(tx: Transaction, queues: Sequence[str], budget: Budget, *, now_ms: int) -> bool:
    """Whether a claim is worth it: something held may be claimed, or a bucket is to be set right.

    Else `budget.wait_s` says when.
    """
    turn = _Turn(tx, budget, now_ms, spends=False)
    queues = open_queues(tx, queues, now_ms=now_ms)
    pairs = [task for queue, task in held_pairs(tx) if queue in queues]
    budget.wait_s = min(map(turn.wait_s, pairs), default=inf)
    return bool(turn.set_back) or any(turn.left(task) >= 1 and turn.room(task) >= 1 for task in pairs)


def claim_within(
    tx: Transaction,
    queues: Sequence[str],
    budget: Budget,
    *,
    worker: int,
    limit: int,
    visibility_ms: int,
    now_ms: int,
) -> Claimed:
    """As `claim`, within `budget`: messages without a token are held."""
    promoted, due_ms = promote(tx, now_ms=now_ms)
    queues = open_queues(tx, queues, now_ms=now_ms)
    turn = _Turn(tx, budget, now_ms, spends=True)
    woken = _wake(tx, queues, turn, limit)
    leases: list[Lease] = []
    again: list[int] = []
    held = 0
    for queue in queues:
        if len(leases) >= limit:
            break
        allowed, sifted = _sift(tx, queue, turn, limit - len(leases), MOST - held)
        held += sifted
        if allowed:
            found, had = claim_pending(
                tx, [queue], worker=worker, limit=allowed, visibility_ms=visibility_ms, now_ms=now_ms
            )
            turn.claimed(found)
            leases += found
            again += had
    tx.executemany(HOLD, [(seq,) for seq in woken - {lease.seq for lease in leases}])
    turn.spend(tx)
    waits = [0.0] if held >= MOST else []
    waits += [turn.wait_s(task) for queue, task in held_pairs(tx) if queue in queues]
    budget.wait_s = min(waits, default=inf)
    return Claimed(leases, due_ms, promoted, commands.last_seen(tx) if leases else 0, again)


def _wake(tx: Transaction, queues: Sequence[str], turn: _Turn, limit: int) -> set[int]:
    """Make as many of the held claimable as there are tokens for; their row numbers."""
    woken: set[int] = set()
    for queue, task in held_pairs(tx):
        room = min(turn.room(task), limit) if queue in queues else 0
        begun: list[Row] = []
        if room >= 1 and task in turn.budget.most:
            begun = tx.execute(WAKE_BEGUN, {"queue": queue, "task": task, "limit": int(room)})
        n = int(min(turn.left(task), room - len(begun)))
        rows = tx.execute(WAKE, {"queue": queue, "task": task, "limit": n}) if n >= 1 else []
        woken.update(seq for (seq,) in (*begun, *rows))
    return woken


def _sift(tx: Transaction, queue: str, turn: _Turn, want: int, may_hold: int) -> tuple[int, int]:
    """Hold messages without a token at the head of `queue`; how many of the head may be claimed, how many are held.

    The head is looked at in the same order as `claim` takes it.
    """
    held, page = 0, want
    while True:
        left: dict[str, float] = {}
        rooms: dict[str, float] = {}
        over: list[tuple[int]] = []
        first_over = None
        rows = tx.execute(HEAD, {"queue": queue, "limit": page})
        for i, (seq, task, flags) in enumerate(rows):
            tokens = left[task] if task in left else turn.left(task)
            room = rooms[task] if task in rooms else turn.room(task)
            begun = flags & Flag.HISTORY
            left[task] = tokens if begun else tokens - 1
            rooms[task] = room - 1
            if room < 1 or (tokens < 1 and not begun):
                over.append((seq,))
                first_over = i if first_over is None else first_over
        if first_over is None:
            return min(want, len(rows)), held
        if held >= may_hold:
            return min(want, first_over), held
        held += tx.executemany(HOLD, over)
        page = max(want, min(page * 8, PAGE)) if 2 * len(over) >= len(rows) else want
