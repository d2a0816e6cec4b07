"""The verb *reap*: leases whose worker is gone go back to their queue.

A lease that has run out is no proof that its worker is gone: nobody could write for longer than the lease, or everybody
was stopped. So a worker that is known to live keeps its leases past their deadline, but for those that its own later
heartbeat has left out: it does not know of them (the commit of its claim was reported as failed).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from liteq.exceptions import WorkerLostError
from liteq.message import Flag
from liteq.serialization import encode_error
from liteq.serialization.causes import cause_of
from liteq.storage.canvases.continuation import End, propagate
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction
from liteq.storage.limits import places
from liteq.storage.sending import unique
from liteq.storage.settling.endings import LEFT_ALONE, end_run
from liteq.storage.settling.telling import leave_word
from liteq.storage.statistics import attempts, causes, stats
from liteq.storage.statistics.attempts import Attempt
from liteq.storage.statistics.causes import Failure
from liteq.storage.steps.suspend import note_crash
from liteq.utils.records import NamedTuple

__all__ = ["Limit", "expired", "reap_expired", "reap_worker"]

logger = logging.getLogger("liteq.storage")

# In chunks: a worker that died with thousands of leases does not hold the write lock for long.
EXPIRED = f"""
SELECT seq, token, id, flags, reaps, group_id, task, queue FROM liteq_messages
 WHERE state = 'leased' AND worker = :worker AND deadline_ms <= :until_ms LIMIT :limit {SKIP_LOCKED}
"""
OF_WORKER = f"""
SELECT seq, token, id, flags, reaps, group_id, task, queue FROM liteq_messages
 WHERE state = 'leased' AND worker = :worker LIMIT :limit {SKIP_LOCKED}
"""
OWNERS = """
SELECT m.worker, w.heartbeat_ms, min(m.deadline_ms)
  FROM liteq_messages AS m LEFT JOIN liteq_workers AS w ON w.id = m.worker
 WHERE m.state = 'leased' AND m.deadline_ms <= :now_ms GROUP BY m.worker, w.heartbeat_ms
"""
BACK = f"""
UPDATE liteq_messages SET state = 'pending', reaps = reaps + 1, flags = flags | {Flag.ALONE}
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
DEAD = """
UPDATE liteq_messages SET state = 'dead', reaps = reaps + 1, error = ?, cause = ?, finished_ms = ?
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
# Its run has let go of it meanwhile.
LET_GO = """
UPDATE liteq_messages SET state = 'cancelled', reaps = reaps + 1, error = ?, finished_ms = ?
 WHERE seq = ? AND state = 'leased' AND token = ?
"""
CHUNK = 1_000


class GivenUp(NamedTuple):
    """A message that became a dead letter, as the worker that held it vanished so often, or was to run once at most."""

    id: str
    task: str
    reaps: int
    once: bool

    @property
    def why(self) -> str:
        """The reason, for its error and the log."""
        if self.once:
            return "the worker that ran it vanished, and it is acknowledged early, so it does not run twice"
        times = "once" if self.reaps == 1 else f"{self.reaps} times"
        return f"the worker that held it vanished, {times} in all (max_reaps)"


class Limit:
    """How often a worker may vanish with a message, and the messages for which that was too often."""

    def __init__(self, max_reaps: int) -> None:
        self.max_reaps = max_reaps
        self.given_up: list[GivenUp] = []

    def tell(self) -> None:
        """Log those, once; called when that is committed."""
        given_up, self.given_up = self.given_up, []
        for one in given_up:
            about = {"task_name": one.task, "task_id": one.id, "reaps": one.reaps}
            logger.error("Task %s[%s] given up, a dead letter now: %s", one.task, one.id, one.why, extra=about)


def expired(tx: Transaction, living: Collection[int], *, now_ms: int) -> list[tuple[int, int]]:
    """The workers with leases that have ended, each with the time up to which a deadline is past; a read.

    For those of `living` that is their last heartbeat, which would have moved the deadline of each lease they hold.
    """
    found = []
    for worker, heartbeat_ms, first_ms in tx.execute(OWNERS, {"now_ms": now_ms}):
        until_ms = min(heartbeat_ms, now_ms) if worker in living and heartbeat_ms is not None else now_ms
        if first_ms <= until_ms:
            found.append((worker, until_ms))
    return found


def reap_expired(tx: Transaction, worker: int, until_ms: int, *, now_ms: int, limit: Limit) -> int:
    """End the leases of `worker` whose deadline is not after `until_ms`, a chunk at a time; how many.

    Adds those that do not run again to those of `limit`.
    """
    rows = tx.execute(EXPIRED, {"worker": worker, "until_ms": until_ms, "limit": CHUNK})
    return _reap(tx, rows, now_ms=now_ms, limit=limit)


def reap_worker(tx: Transaction, worker: int, *, now_ms: int, limit: Limit) -> int:
    """End every lease of a worker that is known to be dead, as `reap_expired` does."""
    rows = tx.execute(OF_WORKER, {"worker": worker, "limit": CHUNK})
    return _reap(tx, rows, now_ms=now_ms, limit=limit)


def _cause(tx: Transaction, token: int, task: str, queue: str, id_: str, error: bytes, now_ms: int) -> str | None:
    """Count a message that is given up to the cause of that; its id."""
    cause = cause_of(task, error)
    found = [] if cause is None else [Failure(token, cause, task, queue, id_)]
    return causes.note(tx, found, now_ms=now_ms, release="").get(token)


def _reap(tx: Transaction, rows: Sequence[Row], *, now_ms: int, limit: Limit) -> int:
    ends, runs, over = [], [], []
    sums: dict[stats.Key, stats.Tally] = {}
    for seq, token, id_, flags, before, group_id, task, queue in rows:
        over.append(Attempt(seq, "reaped", None, now_ms))
        run = flags & Flag.RUN
        if flags & Flag.ASKED and not run:
            tx.execute(LET_GO, (LEFT_ALONE, now_ms, seq, token))
            stats.count(sums, (task, queue, "cancelled", ""))
            ends.append(End(id_, False, group_id, LEFT_ALONE, child=bool(flags & Flag.CHILD)))
            continue
        reaps = 0 if run and note_crash(tx, seq) else before
        # A worker's death does not tell which of its tasks was to blame, so this counter is apart from `crashes` and
        # its limit is higher; it ends a task that takes a whole container down each time. Of a message that runs at
        # most once, only what has begun is over.
        if reaps + 1 < limit.max_reaps and (run or not flags & Flag.BEGUN):
            tx.execute(BACK, (seq, token))
            if flags & Flag.UNSTARTED:
                unique.come_back(tx, seq, now_ms=now_ms)
            stats.count(sums, (task, queue, "reaped", ""))
            continue
        given_up = GivenUp(id_, task, reaps + 1, once=reaps + 1 < limit.max_reaps)
        error = encode_error(WorkerLostError(given_up.why))
        limit.given_up.append(given_up)
        told = leave_word(tx, seq, id_, now_ms=now_ms)
        tx.execute(DEAD, (error, _cause(tx, token, task, queue, id_, error, now_ms), now_ms, seq, token))
        stats.count(sums, (task, queue, "failed", "WorkerLostError"))
        if told or flags & Flag.LINKED:
            ends.append(End(id_, False, group_id, error, child=bool(flags & Flag.CHILD)))
        if run:
            runs.append((seq, id_))
    attempts.write(tx, over)
    propagate(tx, ends, now_ms=now_ms)
    for seq, id_ in runs:
        end_run(tx, seq, id_, now_ms=now_ms)
    places.free(tx, [(row[0], row[1]) for row in rows if row[3] & Flag.PLACED], now_ms=now_ms)
    stats.add(tx, sums, now_ms=now_ms)
    return len(rows)
