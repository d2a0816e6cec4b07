"""The verb *claim*: lease pending messages, in order, under a fencing token each."""

from __future__ import annotations

from collections.abc import Sequence

from liteq.message import Flag, Lease
from liteq.storage import results
from liteq.storage.driver import SKIP_LOCKED, Row, Transaction
from liteq.storage.pauses import OPEN
from liteq.storage.steps.activation import activate
from liteq.utils.records import NamedTuple

__all__ = ["NOTHING", "Claimed", "claim", "claim_pending", "claimable", "lease_rows", "next_due_ms", "promote"]

# Two statements by row number, and no RETURNING: an UPDATE of a sub-select's rows that returns them has SQLite build
# seven temporary b-trees, three quarters of what a claim of one row cost. The two columns behind a lease's own are
# looked up once, and save a statement each.
NEXT = f"""
SELECT seq, coalesce(token, 0), id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes,
       flags, root_id, parent_id, group_id, awaits, NULL, NULL,
       (SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'),
       (SELECT coalesce(max(id), 0) FROM liteq_commands)
  FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue AND {OPEN}
 ORDER BY priority DESC, due_ms, seq
 LIMIT :limit {SKIP_LOCKED}
"""
LEASABLE = """
SELECT seq, coalesce(token, 0), id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes,
       flags, root_id, parent_id, group_id, awaits, NULL, NULL, NULL, 0
  FROM liteq_messages WHERE seq = ?
"""
TAKE = """
UPDATE liteq_messages SET state = 'leased', worker = ?, deadline_ms = ?, token = ?, started_ms = coalesce(?, started_ms)
 WHERE seq = ?
"""

# A row that is not due is not in the claimable set: 200,000 of them there made a claim cost 33 ms.
DUE = f"""
SELECT seq FROM liteq_messages WHERE state = 'scheduled' AND due_ms <= ? ORDER BY due_ms LIMIT ? {SKIP_LOCKED}
"""
PROMOTE = "UPDATE liteq_messages SET state = 'pending' WHERE seq = ? AND state = 'scheduled'"
NEXT_DUE = "SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'"
ANY_PENDING = f"SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = :queue AND {OPEN} LIMIT 1"

TOKEN_COLUMN, FLAGS_COLUMN, AWAITS_COLUMN, DUE_COLUMN, COMMAND_COLUMN = 1, 12, 16, -2, -1  # of NEXT
FIRST = Flag.TRACK_STARTED | Flag.HISTORY  # a run has started when it was activated first
LARGEST_INPUT = 256 * 1024  # bytes of a group's results that are read by a claim
PROMOTE_LIMIT = 500  # a chunk: the rest follows in the next turn, and no writer waits long


class Claimed(NamedTuple):
    """The yield of a claim: `leases`; when the next scheduled message comes due, None: there is none, or nothing was
    looked for; how many came due; and with leases the number of the newest command (`storage.commands`), else 0.
    `again`: the tokens of leases on messages that some worker had before.
    """

    leases: list[Lease]
    due_ms: int | None = None
    promoted: int = 0
    command: int = 0
    again: Sequence[int] = ()


NOTHING = Claimed([])


def claim(
    tx: Transaction, queues: Sequence[str], *, worker: int, limit: int, visibility_ms: int, now_ms: int
) -> Claimed:
    """Lease up to `limit` messages for `visibility_ms` milliseconds, those that have come due among them.

    Highest priority first, then oldest due, within a queue; the queues in the order given, but for
    those that are paused.
    """
    rows, promoted = _next(tx, queues, limit, now_ms), 0
    due_ms = rows[0][DUE_COLUMN] if rows else next_due_ms(tx)
    if due_ms is not None and due_ms <= now_ms:
        promoted, due_ms = promote(tx, now_ms=now_ms)
        rows = _next(tx, queues, limit, now_ms)
    if not rows:
        return Claimed([], due_ms, promoted)
    leases = _take(tx, rows, worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)
    return Claimed(leases, due_ms, promoted, rows[0][COMMAND_COLUMN], _again(leases, rows))


def claim_pending(
    tx: Transaction, queues: Sequence[str], *, worker: int, limit: int, visibility_ms: int, now_ms: int
) -> tuple[list[Lease], Sequence[int]]:
    """As `claim`, of what is pending already: the leases, and the tokens of those that some worker had before."""
    rows = _next(tx, queues, limit, now_ms)
    if not rows:
        return [], ()
    leases = _take(tx, rows, worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)
    return leases, _again(leases, rows)


def _next(tx: Transaction, queues: Sequence[str], limit: int, now_ms: int) -> list[Row]:
    rows: list[Row] = []
    for queue in queues:
        if len(rows) >= limit:
            break
        rows += tx.execute(NEXT, {"queue": queue, "limit": limit - len(rows), "now_ms": now_ms})
    return rows


def _again(leases: list[Lease], rows: list[Row]) -> Sequence[int]:
    return [leases[i].token for i, row in enumerate(rows) if row[TOKEN_COLUMN]]


def lease_rows(tx: Transaction, numbers: Sequence[int], *, worker: int, visibility_ms: int, now_ms: int) -> list[Lease]:
    """Lease the messages of these row numbers, whatever state they are in: the caller has looked."""
    rows = [row for seq in numbers for row in tx.execute(LEASABLE, (seq,))]
    return _take(tx, rows, worker=worker, visibility_ms=visibility_ms, now_ms=now_ms) if rows else []


def _take(tx: Transaction, rows: list[Row], *, worker: int, visibility_ms: int, now_ms: int) -> list[Lease]:
    token = tx.tokens(len(rows), max([row[1] for row in rows]))
    deadline_ms, track = now_ms + visibility_ms, Flag.TRACK_STARTED
    leases, taken, whole = [], [], True
    for row in rows:
        token += 1
        flags = row[FLAGS_COLUMN]
        leases.append(Lease._make((row[0], token, *row[2:DUE_COLUMN])))
        taken.append((worker, deadline_ms, token, now_ms if flags & FIRST == track else None, row[0]))
        whole = whole and row[AWAITS_COLUMN] is None and not flags & Flag.RUN
    tx.executemany(TAKE, taken)
    return leases if whole else [_complete(tx, lease, now_ms) for lease in leases]


def _complete(tx: Transaction, lease: Lease, now_ms: int) -> Lease:
    """`lease` with the facts of a run, and with the result, or for an errback the error, that it waited for.

    That is read by reference now, not copied when it was unblocked: a fan-out keeps one copy, and a replayed dead
    letter still finds it. A large result, and those of a large group, are LATER: they are read where it is executed,
    and not by the process on which all others depend.
    """
    if lease.flags & Flag.RUN:
        lease = activate(tx, lease, now_ms=now_ms)
    if lease.awaits is None or not lease.flags & Flag.TAKES_INPUT:
        return lease
    failure = bool(lease.flags & Flag.ON_FAILURE)
    return lease._replace(input=results.input_of(tx, lease.awaits, failure=failure, largest=LARGEST_INPUT))


def promote(tx: Transaction, *, now_ms: int) -> tuple[int, int | None]:
    """Make due messages claimable, oldest first, at most a chunk of them; how many, and when the next comes due."""
    due_ms = next_due_ms(tx)
    if due_ms is None or due_ms > now_ms:  # the usual case: a look at the index costs a tenth of an UPDATE of nothing
        return 0, due_ms
    return tx.executemany(PROMOTE, tx.execute(DUE, (now_ms, PROMOTE_LIMIT))), next_due_ms(tx)


def claimable(tx: Transaction, queues: Sequence[str], *, now_ms: int) -> bool:
    """Whether one of `queues` has something pending and is not paused.

    A read, so that idle workers do not queue for the write lock.
    """
    return any(tx.execute(ANY_PENDING, {"queue": queue, "now_ms": now_ms}) for queue in queues)


def next_due_ms(tx: Transaction) -> int | None:
    """When the next scheduled message comes due, in ms since the epoch; None when there is none."""
    due: int | None = tx.execute(NEXT_DUE)[0][0]
    return due
