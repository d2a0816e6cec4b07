"""The verb *claim*: lease what may run, in order, under a fencing token each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from liteq.message import Flag, Lease
from liteq.storage import payloads, results
from liteq.storage.driver import Row, Transaction

__all__ = ["claim", "claimable", "next_due_ms", "promote"]

# Tokens are the base plus one of the next SPREAD numbers, by the row's own number, and `liteq_meta.token` moves to the
# largest in the same transaction: so they only go up over the file, and none comes again, not even when its row is
# deleted. (Numbering the rows of a claim by a window function cost 130 us a claim.) A claim uses up SPREAD of
# them at most, however high the rows' numbers are: 2**53, up to which every language's numbers are exact, is centuries
# away. (The row's number itself in place of its rest came there after some hundred million tasks.)
SPREAD = 1024  # a power of two; more rows than a claim usually has
CLAIM = f"""
UPDATE liteq_messages SET state = 'leased', worker = :worker, deadline_ms = :deadline_ms,
       token = :base + 1 + (seq & {SPREAD - 1}),
       started_ms = CASE WHEN (flags & 32) > 0 THEN :now_ms ELSE started_ms END
 WHERE seq IN (
    SELECT seq FROM liteq_messages
     WHERE state = 'pending' AND queue = :queue
     ORDER BY priority DESC, due_ms, seq
     LIMIT :limit)
RETURNING seq, token, id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes, flags,
          root_id, parent_id, group_id, awaits, NULL
"""
BASE_TOKEN = "SELECT value FROM liteq_meta WHERE key = 'token'"
RENUMBER = "UPDATE liteq_messages SET token = ? WHERE seq = ? AND token = ?"
MOVE_TOKEN = "UPDATE liteq_meta SET value = :token WHERE key = 'token'"

# A row that is not due is not in the claimable set: 200,000 of them there made a claim cost 33 ms.
PROMOTE = """
UPDATE liteq_messages SET state = 'pending'
 WHERE seq IN (
    SELECT seq FROM liteq_messages WHERE state = 'scheduled' AND due_ms <= :now_ms ORDER BY due_ms LIMIT :limit)
"""
NEXT_DUE = "SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'"
ANY_PENDING = "SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = ? LIMIT 1"

PROMOTE_LIMIT = 500  # a chunk: the rest follows in the next turn, and no writer waits long


def claim(
    tx: Transaction, queues: Sequence[str], *, worker: int, limit: int, visibility_ms: int, now_ms: int
) -> list[Lease]:
    """Lease up to `limit` pending messages for `visibility_ms` milliseconds; [] when there is none.

    Highest priority first, then oldest due, within a queue; the queues in the order given.
    """
    leases: list[Lease] = []
    params: dict[str, object] = {"worker": worker, "deadline_ms": now_ms + visibility_ms, "now_ms": now_ms}
    params["base"] = tx.execute(BASE_TOKEN)[0][0]
    for queue in queues:
        if len(leases) >= limit:
            break
        if len(queues) > 1 and not tx.execute(ANY_PENDING, (queue,)):  # cheaper than an UPDATE of nothing
            continue
        rows = tx.execute(CLAIM, {**params, "queue": queue, "limit": limit - len(leases)})
        rows.sort(key=_order)  # RETURNING promises none
        leases.extend(map(Lease._make, rows))
    if leases:
        tokens = {lease.token for lease in leases}
        if len(tokens) < len(leases):
            leases = _tell_apart(tx, leases, tokens)
        tx.execute(MOVE_TOKEN, {"token": max(lease.token for lease in leases)})
    return [lease if lease.payload and lease.awaits is None else _complete(tx, lease) for lease in leases]


def _tell_apart(tx: Transaction, leases: list[Lease], tokens: set[int]) -> list[Lease]:
    """`leases` with a token each: rows that lie a multiple of SPREAD apart were given the same one, which is rare."""
    free = (token for token in count(min(tokens)) if token not in tokens)
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
    """`lease` with arguments that stand beside the row, and with the result, or for an errback the error, of what it
    waited for.

    That is read by reference now, not copied when it was unblocked: a fan-out keeps one copy, and a replayed dead
    letter still finds it.
    """
    if not lease.payload:
        lease = lease._replace(payload=payloads.payload_of(tx, lease.seq))
    if lease.awaits is None or not lease.flags & Flag.TAKES_INPUT:
        return lease
    failure = bool(lease.flags & Flag.ON_FAILURE)
    return lease._replace(input=results.input_of(tx, lease.awaits, failure=failure))


def promote(tx: Transaction, *, now_ms: int) -> tuple[int, int | None]:
    """Make what has come due claimable, oldest first, at most a chunk of it; how many, and when the next comes due."""
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
