"""The verb *claim*: lease pending messages, in order, under a fencing token each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import itemgetter, or_

from liteq.message import Flag, Lease
from liteq.storage.claiming.pauses import OPEN
from liteq.storage.driver import AT_ONCE, LATER, SKIP_LOCKED, WITH_TOKENS, Row, Transaction
from liteq.storage.rows import results
from liteq.storage.sending import unique
from liteq.storage.steps.activation import activate
from liteq.utils.records import NamedTuple

__all__ = [
    "NEXT", "NOTHING", "Claimed", "again", "claim", "claimable", "flags_of", "lease_found", "lease_rows", "next_due",
    "next_due_ms", "promote", "with_input",
]  # fmt: skip

FIRST = Flag.TRACK_STARTED | Flag.HISTORY  # a run has started when it was activated first

# Two statements by row number, and no RETURNING: an UPDATE of a sub-select's rows that returns them has SQLite build
# seven temporary b-trees, three quarters of what a claim of one row cost. The three columns behind a lease's own are
# looked up once, and save a statement each.
NEXT = f"""
SELECT seq, coalesce(token, 0), id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes,
       flags, root_id, parent_id, group_id, awaits, NULL, NULL, reaps,
       (SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'),
       (SELECT coalesce(max(id), 0) FROM liteq_commands), (SELECT value FROM liteq_meta WHERE key = 'limits')
  FROM liteq_messages
 WHERE state = 'pending' AND queue = :queue AND {OPEN}
 ORDER BY priority DESC, due_ms, seq
 LIMIT :limit {SKIP_LOCKED} {WITH_TOKENS}
"""
LEASABLE = """
SELECT seq, coalesce(token, 0), id, task, payload, options, queue, priority, due_ms, expires_ms, retries, crashes,
       flags, root_id, parent_id, group_id, awaits, NULL, NULL, reaps, NULL, 0, 0
  FROM liteq_messages WHERE seq = ?
"""
TAKE = f"""
UPDATE liteq_messages SET state = 'leased', worker = ?, deadline_ms = ?, token = ?,
       started_ms = CASE WHEN flags & {FIRST} = {Flag.TRACK_STARTED} THEN ? ELSE started_ms END
 WHERE seq = ? {AT_ONCE} {LATER}
"""
# Of rows without a gap between them: an UPDATE opens each index that its columns are in, once for all of them.
TAKE_RANGE = TAKE.replace("token = ?", "token = seq + ?").replace("seq = ?", "seq BETWEEN ? AND ?")
# Its unique key excludes others no more (unique.py).
TAKE_UNSTARTED = TAKE.replace("state = 'leased',", "state = 'leased', unique_key = unique_key || '\x1f' || id,")
SPECIAL = Flag.PLACED | Flag.UNSTARTED
TAKES = {
    flags: sql.replace("\n WHERE seq", f", flags = flags | {flags & Flag.PLACED}\n WHERE seq")
    for flags, sql in ((Flag.PLACED, TAKE), (Flag.UNSTARTED, TAKE_UNSTARTED), (SPECIAL, TAKE_UNSTARTED))
} | {0: TAKE}

# A row that is not due is not in the claimable set: 200,000 of them there made a claim cost 33 ms.
DUE = f"""
SELECT seq FROM liteq_messages
 WHERE state = 'scheduled' AND due_ms <= :now_ms
   AND (flags & {Flag.LEFT} = 0 OR worker <> :worker OR due_ms <= :left_ms)
 ORDER BY due_ms LIMIT :limit {SKIP_LOCKED}
"""
PROMOTE = f"""
UPDATE liteq_messages SET state = 'pending', flags = flags & ~{Flag.LEFT}
 WHERE seq = ? AND state = 'scheduled' {AT_ONCE}
"""
NEXT_DUE = """
SELECT (SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled'),
       (SELECT value FROM liteq_meta WHERE key = 'limits')
"""
DUE_LATER = "SELECT min(due_ms) FROM liteq_messages WHERE state = 'scheduled' AND due_ms > ?"
ANY_PENDING = f"SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = :queue AND {OPEN} LIMIT 1"

TOKEN_COLUMN, FLAGS_COLUMN = 1, 12  # of NEXT
DUE_COLUMN, COMMAND_COLUMN, LIMITS_COLUMN = -3, -2, -1
FLAGS = itemgetter(FLAGS_COLUMN)
INCOMPLETE = Flag.RUN | Flag.TAKES_INPUT
LARGEST_INPUT = 256 * 1024  # bytes of a group's results that are read by a claim
PROMOTE_LIMIT = 500  # a chunk: the rest follows in the next turn, and no writer waits long
LEFT_MS = 2_000  # for others to take what a worker cannot run: the slowest look once a second


class Claimed(NamedTuple):
    """The yield of a claim: `leases`; when the next scheduled message comes due, None: there is none, or nothing was
    looked for; how many came due; and with leases the number of the newest command (`storage.commands`), else 0.
    `again`: the tokens of leases on messages that some worker had before. `timed`: something that is held has got a
    time at which it is to be looked at.
    """

    leases: list[Lease]
    due_ms: int | None = None
    promoted: int = 0
    command: int = 0
    again: Sequence[int] = ()
    timed: bool = False


NOTHING = Claimed([])


def claim(
    tx: Transaction, queues: Sequence[str], *, worker: int, limit: int, visibility_ms: int, now_ms: int
) -> Claimed | None:
    """Lease up to `limit` messages for `visibility_ms` milliseconds, those that have come due among them.

    Highest priority first, then oldest due, within a queue; the queues in the order given, but for
    those that are paused. None, and nothing is done, where there are limits in the file (`admit`).
    """
    (rows, flags), promoted = _next(tx, queues, limit, now_ms), 0
    due_ms, limits = (rows[0][DUE_COLUMN], rows[0][LIMITS_COLUMN]) if rows else next_due(tx)
    if limits:
        return None
    if due_ms is not None and due_ms <= now_ms:
        promoted, due_ms = promote(tx, worker=worker, now_ms=now_ms)
        rows, flags = _next(tx, queues, limit, now_ms)
    if not rows:
        return Claimed([], due_ms, promoted)
    leases = lease_found(tx, rows, flags, worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)
    return Claimed(leases, due_ms, promoted, rows[0][COMMAND_COLUMN], again(leases, rows))


def _next(tx: Transaction, queues: Sequence[str], limit: int, now_ms: int) -> tuple[list[Row], int]:
    """The rows to lease, and the flags that one of them has."""
    while True:
        rows: list[Row] = []
        for queue in dict.fromkeys(queues):  # named twice, its messages would be leased twice
            if len(rows) >= limit:
                break
            rows += tx.execute(NEXT, {"queue": queue, "limit": limit - len(rows), "now_ms": now_ms})
        flags = flags_of(rows)
        if not flags & Flag.UNSTARTED:
            return rows, flags
        admitted = unique.admitted(tx, rows, now_ms=now_ms)
        if admitted:
            return admitted, flags  # where all were put off, others stand behind them


def flags_of(rows: list[Row]) -> int:
    """The flags that one of `rows` has."""
    return rows[0][FLAGS_COLUMN] if len(rows) == 1 else reduce(or_, map(FLAGS, rows), 0)


def again(leases: list[Lease], rows: list[Row]) -> Sequence[int]:
    """The tokens of those of `leases`, of these rows, that some worker had before."""
    if len(rows) == 1:
        return [leases[0].token] if rows[0][TOKEN_COLUMN] else ()
    return [leases[i].token for i, row in enumerate(rows) if row[TOKEN_COLUMN]]


def lease_rows(tx: Transaction, numbers: Sequence[int], *, worker: int, visibility_ms: int, now_ms: int) -> list[Lease]:
    """Lease the messages of these row numbers, whatever state they are in: the caller has looked."""
    rows = [row for seq in numbers for row in tx.execute(LEASABLE, (seq,))]
    if not rows:
        return []
    return lease_found(tx, rows, flags_of(rows), worker=worker, visibility_ms=visibility_ms, now_ms=now_ms)


def lease_found(
    tx: Transaction, rows: list[Row], flags: int, *, worker: int, visibility_ms: int, now_ms: int
) -> list[Lease]:
    """Lease messages whose rows, in the columns of NEXT, were read in this transaction; one at least.

    `flags`: those that one of them has (`flags_of`), and perhaps more.
    """
    deadline_ms = now_ms + visibility_ms
    if len(rows) == 1 and not flags & (SPECIAL | INCOMPLETE):  # a lone task pays for nothing below
        row = rows[0]
        token = tx.tokens(1, row[TOKEN_COLUMN]) + 1
        tx.executemany(TAKE, [(worker, deadline_ms, token, now_ms, row[0])])
        return [Lease._make((row[0], token, *row[2:DUE_COLUMN]))]
    token = tx.tokens(len(rows), max([row[TOKEN_COLUMN] for row in rows])) + 1
    numbers = [row[0] for row in rows]
    first, last = min(numbers), max(numbers)
    if last - first == len(rows) - 1 and not flags & SPECIAL:  # as a queue's head mostly is: no others are between
        ahead = token - first
        tx.executemany(TAKE_RANGE, [(worker, deadline_ms, ahead, now_ms, first, last)])
        leases = [Lease._make((row[0], row[0] + ahead, *row[2:DUE_COLUMN])) for row in rows]
    else:
        for row in rows:
            if row[FLAGS_COLUMN] & Flag.UNSTARTED:
                unique.started(tx, row, now_ms=now_ms)
        leases = [Lease._make((row[0], token + n, *row[2:DUE_COLUMN])) for n, row in enumerate(rows)]
        for kind in {one.flags & SPECIAL for one in leases}:
            taken = [one for one in leases if one.flags & SPECIAL == kind]
            tx.executemany(TAKES[kind], [(worker, deadline_ms, one.token, now_ms, one.seq) for one in taken])
    return [_complete(tx, one, now_ms) for one in leases] if flags & INCOMPLETE else leases


def _complete(tx: Transaction, lease: Lease, now_ms: int) -> Lease:
    """`lease` with the facts of a run, and with its input."""
    return with_input(tx, activate(tx, lease, now_ms=now_ms) if lease.flags & Flag.RUN else lease)


def with_input(tx: Transaction, lease: Lease) -> Lease:
    """`lease` with the result, or for an errback the error, that it waited for.

    That is read by reference now, not copied when it was unblocked: a fan-out keeps one copy, and a replayed dead
    letter still finds it. A large result, and those of a large group, are LATER: they are read where it is executed,
    and not by the process on which all others depend.
    """
    if lease.awaits is None or not lease.flags & Flag.TAKES_INPUT:
        return lease
    failure = bool(lease.flags & Flag.ON_FAILURE)
    return lease._replace(input=results.input_of(tx, lease.awaits, failure=failure, largest=LARGEST_INPUT))


def promote(tx: Transaction, *, worker: int, now_ms: int) -> tuple[int, int | None]:
    """Make due messages claimable, oldest first, at most a chunk of them; how many, and when the next comes due.

    Those that `worker` has left to others come due `LEFT_MS` later to it. Else it would take them again and again: a
    worker that sleeps until they are due is there before one that looks once a second.
    """
    due_ms = next_due_ms(tx)
    if due_ms is None or due_ms > now_ms:  # the usual case: a look at the index costs a tenth of an UPDATE of nothing
        return 0, due_ms
    params = {"now_ms": now_ms, "left_ms": now_ms - LEFT_MS, "worker": worker, "limit": PROMOTE_LIMIT}
    promoted = tx.executemany(PROMOTE, tx.execute(DUE, params))
    due_ms = next_due_ms(tx)
    if due_ms is not None and due_ms <= now_ms and promoted < PROMOTE_LIMIT:  # it has left those that are due
        later_ms = tx.execute(DUE_LATER, (now_ms,))[0][0]
        due_ms = due_ms + LEFT_MS if later_ms is None else min(due_ms + LEFT_MS, later_ms)
    return promoted, due_ms


def claimable(tx: Transaction, queues: Sequence[str], *, now_ms: int) -> bool:
    """Whether one of `queues` has something pending and is not paused.

    A read, so that idle workers do not queue for the write lock.
    """
    return any(tx.execute(ANY_PENDING, {"queue": queue, "now_ms": now_ms}) for queue in queues)


def next_due_ms(tx: Transaction) -> int | None:
    """When the next scheduled message comes due, in ms since the epoch; None when there is none."""
    return next_due(tx)[0]


def next_due(tx: Transaction) -> tuple[int | None, int]:
    """As `next_due_ms`, and which limits are in force: 0 for none, another number whenever they have changed."""
    due_ms, limits = tx.execute(NEXT_DUE)[0]
    return due_ms, limits
