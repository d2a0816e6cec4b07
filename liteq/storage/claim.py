"""The verb *claim*: lease pending messages, in order, under a fencing token each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import cast

from liteq.message import Flag, Lease
from liteq.storage import payloads, results
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction

__all__ = ["claim", "claimable", "next_due_ms", "promote"]

# A claim takes SPREAD tokens (`Transaction.tokens`) and gives each row one of them, by the row's own number: so they
# only go up over the store. (Numbering the rows of a claim by a window function cost 130 us a claim.) Because a claim
# uses up SPREAD of them, however high the rows' numbers are, 2**53, up to which every language's numbers are exact, is
# centuries away. (The row's number itself in place of its rest came there after some hundred million tasks.)
SPREAD = 1024  # a power of two; more rows than a claim usually has
CLAIM = f"""
UPDATE liteq_messages SET state = 'leased', worker = :worker, deadline_ms = :deadline_ms,
       token = :base + 1 + (seq & {SPREAD - 1}),
       started_ms = CASE WHEN (flags & {Flag.TRACK_STARTED}) > 0 THEN :now_ms ELSE started_ms END
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'pending' AND queue = :queue
     ORDER BY priority DESC, due_ms, seq
     LIMIT :limit {SKIP_LOCKED})
RETURNING seq, token, id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes, flags,
          root_id, parent_id, group_id, awaits, NULL
"""
RENUMBER = "UPDATE liteq_messages SET token = ? WHERE seq = ? AND token = ?"

# A row that is not due is not in the claimable set: 200,000 of them there made a claim cost 33 ms.
PROMOTE = f"""
UPDATE liteq_messages SET state = 'pending'
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'scheduled' AND due_ms <= :now_ms ORDER BY due_ms LIMIT :limit {SKIP_LOCKED})
"""
NEXT_DUE = "SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'"
ANY_PENDING = "SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = ? LIMIT 1"

LARGEST_INPUT = 256 * 1024  # bytes of a group's results that are read by a claim
PROMOTE_LIMIT = 500  # a chunk: the rest follows in the next turn, and no writer waits long


def claim(
    tx: Transaction, queues: Sequence[str], *, worker: int, limit: int, visibility_ms: int, now_ms: int
) -> list[Lease]:
    """Lease up to `limit` pending messages for `visibility_ms` milliseconds; [] when there is none.

    Highest priority first, then oldest due, within a queue; the queues in the order given.
    """
    leases: list[Lease] = []
    params: dict[str, object] = {"worker": worker, "deadline_ms": now_ms + visibility_ms, "now_ms": now_ms}
    for queue in queues:
        if len(leases) >= limit:
            break
        if len(queues) > 1 and not tx.execute(ANY_PENDING, (queue,)):  # cheaper than an UPDATE of nothing
            continue
        if "base" not in params:
            params["base"] = tx.tokens(max(SPREAD, limit))
        rows = tx.execute(CLAIM, {**params, "queue": queue, "limit": limit - len(leases)})
        rows.sort(key=_order)  # RETURNING promises none
        leases.extend(map(Lease._make, rows))
    tokens = {lease.token for lease in leases}
    if len(tokens) < len(leases):
        leases = _tell_apart(tx, leases, tokens, cast("int", params["base"]))
    return [lease if lease.payload and lease.awaits is None else _complete(tx, lease) for lease in leases]


def _tell_apart(tx: Transaction, leases: list[Lease], tokens: set[int], base: int) -> list[Lease]:
    """`leases` with a token each: rows that lie a multiple of SPREAD apart were given the same one, which is rare."""
    free = (token for token in count(base + 1) if token not in tokens)  # as many were taken as there are rows
    seen: set[int] = set()
    told_apart = []
    for lease in leases:
        if lease.token in seen:
            fresh = next(free)
            tx.execute(RENUMBER, (fresh, lease.seq, lease.token))
            lease = lease._replace(token=fresh)  # noqa: PLW2901 - the same lease
        seen.add(lease.token)
        told_apart.append(lease)
    return told_apart


def _order(row: Row) -> tuple[int, int, int]:
    return -row[7], row[8], row[0]  # priority, due time, row number


def _complete(tx: Transaction, lease: Lease) -> Lease:
    """`lease` with arguments that stand beside the row, and with the result, or for an errback the error, that it
    waited for.

    That is read by reference now, not copied when it was unblocked: a fan-out keeps one copy, and a replayed dead
    letter still finds it. The results of a large group are LATER: whoever executes joins them, and not the process on
    which all others depend.
    """
    if not lease.payload:
        lease = lease._replace(payload=payloads.payload_of(tx, lease.seq))
    if lease.awaits is None or not lease.flags & Flag.TAKES_INPUT:
        return lease
    failure = bool(lease.flags & Flag.ON_FAILURE)
    return lease._replace(input=results.input_of(tx, lease.awaits, failure=failure, largest=LARGEST_INPUT))


def promote(tx: Transaction, *, now_ms: int) -> tuple[int, int | None]:
    """Make due messages claimable, oldest first, at most a chunk of them; how many, and when the next comes due."""
    due_ms = next_due_ms(tx)
    if due_ms is None or due_ms > now_ms:  # the usual case: a look at the index costs a tenth of an UPDATE of nothing
        return 0, due_ms
    return tx.executemany(PROMOTE, [{"now_ms": now_ms, "limit": PROMOTE_LIMIT}]), next_due_ms(tx)


def claimable(tx: Transaction, queues: Sequence[str]) -> bool:
    """Whether one of `queues` has something pending; a read, so that idle workers do not queue for the write lock."""
    return any(tx.execute(ANY_PENDING, (queue,)) for queue in queues)


def next_due_ms(tx: Transaction) -> int | None:
    """When the next scheduled message comes due, in ms since the epoch; None when there is none."""
    due: int | None = tx.execute(NEXT_DUE)[0][0]
    return due
