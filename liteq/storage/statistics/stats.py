"""Sums of what became of tasks: how many, how long they ran and waited. By the minute, later by the hour, and in all.

A worker sums in memory and adds its sums here once a second at most; so a task costs no write of its own, and those
that leave no row are counted as well. The row of `span` 0 is the sum of all since the file was made: it is written with
each minute's, so that it never goes back when minutes become hours and hours go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter

import orjson

from liteq.storage.driver import LOCK, Row, Transaction
from liteq.utils.records import NamedTuple

__all__ = [
    "BOUNDS_S",
    "CHILD_EXIT",
    "MEMO",
    "NO_SUMS",
    "OTHER",
    "REAPED",
    "STEP",
    "WRITE_WAIT",
    "Key",
    "Number",
    "Stat",
    "Sums",
    "Tally",
    "add",
    "bucket_of",
    "by_slot",
    "count",
    "counts",
    "expire",
    "fold",
    "names",
    "quantile",
    "queues",
    "series",
    "totals",
]

# The bounds of the histograms in seconds, 5 ms to 1 h; one bucket more takes in what is longer.
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
BUCKETS = len(BOUNDS_S) + 1
ALL, MINUTE, HOUR = 0, 1, 60  # values of `span`: the minutes that a row is of
MOST_NAMES, MOST_CAUSES = 500, 50  # tasks, and queues; exceptions of a task. The rest is OTHER
OTHER = "other"
# Outcomes in rows of no task.
CHILD_EXIT, MEMO, REAPED, STEP, WRITE_WAIT = "child_exit", "memo", "reaped", "step", "write_wait"

COLUMNS = "minute, task, queue, outcome, cause, n, run_us, wait_us, buckets"
GET = """
SELECT n, run_us, wait_us, buckets FROM liteq_stats
 WHERE span = :span AND minute = :minute AND task = :task AND queue = :queue AND outcome = :outcome AND cause = :cause
"""
HELD = f"{GET.rstrip()} {LOCK}"
PUT = """
INSERT INTO liteq_stats (span, minute, task, queue, outcome, cause, n, run_us, wait_us, buckets)
VALUES (:span, :minute, :task, :queue, :outcome, :cause, :n, :run_us, :wait_us, :buckets)
ON CONFLICT (span, minute, task, queue, outcome, cause) DO UPDATE
   SET n = excluded.n, run_us = excluded.run_us, wait_us = excluded.wait_us, buckets = excluded.buckets
"""
# Each name stands in a row of span 0: what is there is known, and few enough to be counted.
TASK = "SELECT 1 FROM liteq_stats WHERE span = 0 AND minute = 0 AND task = ? LIMIT 1"
QUEUE = "SELECT 1 FROM liteq_stats WHERE span = 0 AND minute = 0 AND queue = ? LIMIT 1"
CAUSE = "SELECT 1 FROM liteq_stats WHERE span = 0 AND minute = 0 AND task = :task AND cause = :cause LIMIT 1"
TASKS = "SELECT count(DISTINCT task) FROM liteq_stats WHERE span = 0 AND minute = 0"
QUEUES = "SELECT count(DISTINCT queue) FROM liteq_stats WHERE span = 0 AND minute = 0"
CAUSES = "SELECT count(DISTINCT cause) FROM liteq_stats WHERE span = 0 AND minute = 0 AND task = ? AND cause <> ''"
NAMES = "SELECT DISTINCT task FROM liteq_stats WHERE span = 0 AND minute = 0 AND task > '' ORDER BY task LIMIT ?"
NAMES_OF_QUEUES = "SELECT DISTINCT queue FROM liteq_stats WHERE span = 0 AND minute = 0 ORDER BY queue LIMIT ?"
TOTALS = f"SELECT {COLUMNS} FROM liteq_stats WHERE span = 0 AND minute = 0 ORDER BY task, queue, outcome, cause"
RANGE = f"""
SELECT {COLUMNS} FROM liteq_stats
 WHERE span = :span AND minute >= :since AND minute < :until
 ORDER BY minute, task, queue, outcome, cause LIMIT :limit
"""
# Of too many the newest, and of what was asked for alone.
NEWEST = f"""
SELECT {COLUMNS} FROM liteq_stats
 WHERE span = :span AND minute >= :since AND minute < :until
   AND (CAST(:task AS TEXT) IS NULL OR task = :task) AND (CAST(:queue AS TEXT) IS NULL OR queue = :queue)
 ORDER BY minute DESC, task DESC, queue DESC, outcome DESC, cause DESC LIMIT :limit
"""
BY_SLOT = """
SELECT minute / :step * :step AS slot, queue, sum(n) FROM liteq_stats
 WHERE span = :span AND minute >= :since AND minute < :until AND outcome = :outcome
   AND (CAST(:task AS TEXT) IS NULL OR task = :task) AND (CAST(:queue AS TEXT) IS NULL OR queue = :queue)
 GROUP BY slot, queue ORDER BY slot DESC LIMIT :limit
"""
# Numbers alone, added up by the engine: a histogram of each row costs more than the row.
COUNTS = """
SELECT task, queue, outcome, cause, sum(n) FROM liteq_stats
 WHERE span = 1 AND minute >= :since GROUP BY task, queue, outcome, cause LIMIT :limit
"""
DELETE = """
DELETE FROM liteq_stats
 WHERE span = :span AND minute = :minute AND task = :task AND queue = :queue AND outcome = :outcome AND cause = :cause
"""
ROWS = 50_000  # of a range that are read at most

Key = tuple[str, str, str, str]  # task, queue, outcome, the exception's name or ""


class Tally:
    """A sum: how many, their run times and waits in microseconds, and both by bucket."""

    __slots__ = ("n", "run", "run_us", "wait", "wait_us")

    def __init__(self) -> None:
        self.n = self.run_us = self.wait_us = 0
        self.run = [0] * BUCKETS
        self.wait = [0] * BUCKETS

    def ran(self, run_s: float, wait_s: float) -> None:
        """Count one that ran for `run_s` seconds, after a wait of `wait_s`."""
        wait_s = max(wait_s, 0.0)  # another machine's clock may have sent it
        self.n += 1
        self.run_us += int(run_s * 1e6)
        self.wait_us += int(wait_s * 1e6)
        self.run[0 if run_s <= BOUNDS_S[0] else bisect_left(BOUNDS_S, run_s)] += 1
        self.wait[0 if wait_s <= BOUNDS_S[0] else bisect_left(BOUNDS_S, wait_s)] += 1

    def ran_many(self, runs_s: Sequence[float], waits_ms: Sequence[int]) -> None:
        """Count as many that ran for `runs_s` seconds, each after the wait at the same place in `waits_ms`."""
        self.n += len(runs_s)
        self.run_us += int(sum(runs_s) * 1e6)
        if max(runs_s, default=0.0) <= BOUNDS_S[0]:
            self.run[0] += len(runs_s)
        else:
            for run_s in runs_s:
                self.run[bisect_left(BOUNDS_S, run_s)] += 1
        for wait_ms, n in Counter(waits_ms).items():
            wait_s = max(wait_ms, 0) / 1000
            self.wait_us += int(wait_s * 1e6) * n
            self.wait[bisect_left(BOUNDS_S, wait_s)] += n

    def add(self, other: Tally) -> None:
        """Add another sum."""
        self.n += other.n
        self.run_us += other.run_us
        self.wait_us += other.wait_us
        self.run = [a + b for a, b in zip(self.run, other.run, strict=True)]
        self.wait = [a + b for a, b in zip(self.wait, other.wait, strict=True)]

    def buckets(self) -> bytes:
        """Both histograms as the file keeps them: without the zeros behind the last one that counts."""
        return orjson.dumps({"run": _cut(self.run), "wait": _cut(self.wait)})

    @classmethod
    def read(cls, n: int, run_us: int, wait_us: int, buckets: bytes) -> Tally:
        """The sum in a row."""
        tally = cls()
        tally.n, tally.run_us, tally.wait_us = n, run_us, wait_us
        found = orjson.loads(buckets)
        tally.run = _padded(found.get("run", ()))
        tally.wait = _padded(found.get("wait", ()))
        return tally


def _cut(counts: list[int]) -> list[int]:
    last = max((i for i, n in enumerate(counts) if n), default=-1)
    return counts[: last + 1]


def _padded(counts: Sequence[int]) -> list[int]:
    return [*counts, *[0] * BUCKETS][:BUCKETS]


Sums = Mapping[Key, Tally]
NO_SUMS: Sums = {}


class Stat(NamedTuple):
    """A row: the sum of one outcome of a task in a queue, from `minute` (since the epoch) on."""

    minute: int
    task: str
    queue: str
    outcome: str
    cause: str
    tally: Tally


def count(sums: dict[Key, Tally], key: Key, n: int = 1) -> None:
    """Count `n` that did not run."""
    tally = sums.get(key)
    if tally is None:
        tally = sums[key] = Tally()
    tally.n += n


def bucket_of(seconds: float) -> int:
    """The place of a time among the buckets: the first whose bound is not below it."""
    return bisect_left(BOUNDS_S, seconds)


def quantile(buckets: Sequence[int], q: float) -> float | None:
    """The time in seconds that a share `q` of those in `buckets` does not exceed, within its bucket by proportion.

    None where nothing was counted; the highest bound for what lies above it.
    """
    rank = q * sum(buckets)
    if not rank:
        return None
    below, floor = 0, 0.0
    for n, bound in zip(buckets, BOUNDS_S, strict=False):
        if n and below + n >= rank:
            return floor + (bound - floor) * (rank - below) / n
        below, floor = below + n, bound
    return floor


# -- writing -----------------------------------------------------------------------------------------------------------


def add(tx: Transaction, sums: Sums, *, now_ms: int) -> None:
    """Add `sums` to this minute and to the sum of all. Names for which there is no room are counted as OTHER."""
    if not sums:
        return
    minute = now_ms // 60_000
    room = _Room(tx)
    merged: dict[Key, Tally] = {}
    for key, tally in sums.items():
        merged.setdefault(room.name(key), Tally()).add(tally)
    for key, tally in sorted(merged.items(), key=itemgetter(0)):  # in one order everywhere, as the causes of failures
        _add(tx, MINUTE, minute, key, tally)
        _add(tx, ALL, 0, key, tally)


def _place(span: int, minute: int, key: Key) -> dict[str, object]:
    task, queue, outcome, cause = key
    return {"span": span, "minute": minute, "task": task, "queue": queue, "outcome": outcome, "cause": cause}


def _add(tx: Transaction, span: int, minute: int, key: Key, tally: Tally) -> None:
    place = _place(span, minute, key)
    rows = tx.execute(HELD, place)
    if not rows:  # of two transactions that begin a row, the second adds to it
        tx.in_turn("liteq_stats")
        rows = tx.execute(HELD, place)
    for row in rows:
        before = Tally.read(*row)
        before.add(tally)
        tally = before
    figures = {"n": tally.n, "run_us": tally.run_us, "wait_us": tally.wait_us, "buckets": tally.buckets()}
    tx.executemany(PUT, [place | figures])


class _Room:
    """The names that are known, and room for new ones. A name once counted keeps its own rows."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def name(self, key: Key) -> Key:
        """`key`, with OTHER in the place of each name for which there is no room."""
        if self._tx.execute(GET, _place(ALL, 0, key)):
            return key
        task, queue, outcome, cause = key
        if not self._tx.execute(TASK, (task,)) and self._tx.execute(TASKS)[0][0] >= MOST_NAMES:
            task = OTHER
        if not self._tx.execute(QUEUE, (queue,)) and self._tx.execute(QUEUES)[0][0] >= MOST_NAMES:
            queue = OTHER
        if cause and not self._tx.execute(CAUSE, {"task": task, "cause": cause}):
            cause = OTHER if self._tx.execute(CAUSES, (task,))[0][0] >= MOST_CAUSES else cause
        return task, queue, outcome, cause


def fold(tx: Transaction, *, before_minute: int, limit: int) -> int:
    """Make hours of up to `limit` rows of minutes before `before_minute`; how many rows there were."""
    tx.in_turn("liteq_stats fold")  # each row goes into one hour alone
    rows = tx.execute(RANGE, {"span": MINUTE, "since": 0, "until": before_minute, "limit": limit})
    hours: dict[tuple[int, Key], Tally] = {}
    for stat in _stats(rows):
        place = (stat.minute // HOUR * HOUR, (stat.task, stat.queue, stat.outcome, stat.cause))
        hours.setdefault(place, Tally()).add(stat.tally)
    for (minute, key), tally in hours.items():
        _add(tx, HOUR, minute, key, tally)
    tx.executemany(DELETE, [_place(MINUTE, row[0], row[1:5]) for row in rows])
    return len(rows)


def expire(tx: Transaction, *, before_minute: int, limit: int) -> int:
    """Delete up to `limit` rows of hours before `before_minute`, which are in the sum of all; how many."""
    rows = tx.execute(RANGE, {"span": HOUR, "since": 0, "until": before_minute, "limit": limit})
    return tx.executemany(DELETE, [_place(HOUR, row[0], row[1:5]) for row in rows])


# -- reading -----------------------------------------------------------------------------------------------------------


def _stats(rows: Iterable[Row]) -> list[Stat]:
    return [Stat._make((*row[:5], Tally.read(*row[5:]))) for row in rows]


def totals(tx: Transaction) -> list[Stat]:
    """The sums of all since the file was made, by task, queue, outcome and exception."""
    return _stats(tx.execute(TOTALS))


def series(
    tx: Transaction, *, since_minute: int, until_minute: int, task: str | None = None, queue: str | None = None,
    limit: int = ROWS,
) -> list[Stat]:  # fmt: skip
    """The rows of a range of time, the oldest first: those of hours, then those of minutes; the newest `limit` of each.

    `task`, `queue`: of these alone; None: of all.
    """
    wanted = {"until": until_minute, "task": task, "queue": queue, "limit": limit}
    found: list[Row] = []
    for span in (HOUR, MINUTE):
        found += reversed(tx.execute(NEWEST, {**wanted, "span": span, "since": since_minute // span * span}))
    return _stats(found)


def by_slot(
    tx: Transaction, *, since_minute: int, until_minute: int, step: int, outcomes: Collection[str],
    task: str | None = None, queue: str | None = None, limit: int = ROWS,
) -> list[tuple[int, str, int]]:  # fmt: skip
    """How many ended in one of these ways: (the first of each `step` minutes, queue, how many), in no order.

    Added up by the engine, so that a long range of many tasks is whole. `task`, `queue`: as of `series`.
    """
    wanted = {"until": until_minute, "step": step, "task": task, "queue": queue, "limit": limit}
    found: list[tuple[int, str, int]] = []
    for span in (HOUR, MINUTE):
        since = since_minute // span * span
        for outcome in outcomes:
            rows = tx.execute(BY_SLOT, {**wanted, "span": span, "since": since, "outcome": outcome})
            found += [(slot, name, n) for slot, name, n in rows]
    return found


class Number(NamedTuple):
    """How many of a task in a queue have ended in one way."""

    task: str
    queue: str
    outcome: str
    cause: str
    n: int


def counts(tx: Transaction, *, since_minute: int, limit: int = ROWS) -> list[Number]:
    """How many tasks ended how, from a minute on that is kept as such; without times."""
    return [Number._make(row) for row in tx.execute(COUNTS, {"since": since_minute, "limit": limit})]


def names(tx: Transaction, *, limit: int = MOST_NAMES + 1) -> list[str]:
    """The names of the tasks that have been counted."""
    return [name for (name,) in tx.execute(NAMES, (limit,))]


def queues(tx: Transaction, *, limit: int = MOST_NAMES + 1) -> list[str]:
    """The names of the queues in which something has been counted."""
    return [name for (name,) in tx.execute(NAMES_OF_QUEUES, (limit,))]
